# `make demo` and `make test` are all that a fresh machine needs; both install what is missing first. `make test-all` is
# what CI runs: it installs engines and a browser, too.
# PYTHON=… chooses another interpreter (3.11 to 3.14) than the system's.
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do command -v $$p && break; done)
PREFIX ?= /usr/local
DESTDIR ?=
VENV := build/venv
PY := $(VENV)/bin/python
LAUNCHER := runtime/launcher
HOST := PYTHON=$(PYTHON) sh $(LAUNCHER)/setup_host.sh
BUILD := $(PY) -X no_debug_ranges $(LAUNCHER)/build.py
VM_SECONDS ?= 1800
# Which runtime the conformance suite is run against.
RUNTIME ?= build/bin/pyrun
SUITE := build/bin/oci-conformance
SOURCES := $(shell find runtime spec -name "*.py" -o -name "*.[ch]" -o -name "*.txt") pyproject.toml $(wildcard .git/logs/HEAD)
TESTPATH := PYTHONPATH=runtime:spec:conformance:build/dev
GENERATE := PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=build/lib/pyrun $(PY)
SHARE := $(DESTDIR)$(PREFIX)/share
BASH := bash-completion/completions/pyrun
ZSH := zsh/site-functions/_pyrun
FISH := fish/vendor_completions.d/pyrun.fish
PYTEST := $(TESTPATH) $(PY) -m pytest -rfExX --durations=10
ORDER := tests/unit tests/bench tests/conformance tests/integration tests/security tests/crash tests/stress tests/engines
ALL := $(wildcard $(ORDER)) $(filter-out $(ORDER),$(sort $(patsubst %/,%,$(dir $(wildcard tests/*/test_*.py))))) $(wildcard tests/test_*.py)
# What a contributor waits for, without tests that are marked as slow. TESTS=… chooses others, slow ones with them.
QUICK := tests/unit tests/bench tests/docs tests/integration tests/security $(wildcard tests/test_*.py)
TESTS ?=

.PHONY: all demo docs test test-all test-vm test-vm-short lint bench profile stress conformance mutants install clean trace FORCE
.DELETE_ON_ERROR:

all: build/bin/pyrun $(SUITE)

demo: build/bin/pyrun
	@$(PY) $(LAUNCHER)/demo.py build/bin/pyrun

test: build/bin/pyrun $(SUITE) build/test/pyrun-traced build/.host-test build/.venv-dev
	$(PYTEST) $(PYTEST_FLAGS) $(or $(TESTS),-m "not slow" $(QUICK))

test-all: build/bin/pyrun $(SUITE) build/test/pyrun-traced build/.host-test-all build/.venv-dev
	$(PYTEST) $(PYTEST_FLAGS) $(ALL)

# In a throw-away virtual machine with systemd, cgroup v2 and AppArmor: engines with their own defaults, as root and as
# an ordinary user; then with SELinux. Root's, since mmdebstrap makes the image; emulated where KVM doesn't work.
test-vm: build/bin/pyrun $(SUITE) build/.venv-dev
	VM_SECONDS=$(VM_SECONDS) bash tests/vm/test.sh $(VM_FLAGS)

# Without the tests that are marked `long`.
test-vm-short: build/bin/pyrun $(SUITE) build/.venv-dev
	VM_SECONDS=$(VM_SECONDS) bash tests/vm/test.sh --short $(VM_FLAGS)

# Pages that are made from the sources: the command line, properties, requirements, habits, files, and manual pages.
docs: build/bin/pyrun
	$(TESTPATH):docs $(PY) -m pages build/docs
	@echo "wrote build/docs"

lint: build/.host-test build/.venv-dev build/bin/pyrun
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	git ls-files '*.sh' .ci/run | xargs -r shellcheck
	$(BUILD) --analyze

bench: build/bin/pyrun build/.host-test build/.venv-dev
	@mkdir -p build/docs
	$(TESTPATH) $(PY) -m tests.bench $(BENCH_FLAGS)

# Where each command's time goes; PEERS="crun=/usr/bin/crun" for others beside it.
profile: build/bin/pyrun build/.host-test build/.venv-dev
	@$(TESTPATH) $(PY) -m tests.bench.profile $(PROFILE_FLAGS) $(PEERS)

stress: build/bin/pyrun build/.host-test build/.venv-dev
	@mkdir -p build/docs
	$(PY) -m tests.stress --output build/docs $(STRESS_FLAGS)
	PYRUN_CRASH_POINTS=all $(TESTPATH) $(PY) -m pytest -rfExX --timeout=3600 $(PYTEST_FLAGS) tests/crash

# RUNTIME=… EXPECT=… choose another runtime and what is known of it; FLAGS=… are the suite's own.
conformance: all
	$(SUITE) run --runtime $(RUNTIME) --expect $(or $(EXPECT),$(notdir $(RUNTIME))) --out build/conformance $(FLAGS)

mutants: all
	$(SUITE) mutants --runtime $(RUNTIME) $(FLAGS)

# Whatever the umask is, and was when it was built, everyone can read what is installed, and only its owner write it.
install: build/bin/pyrun
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib
	install -m 755 build/bin/pyrun $(DESTDIR)$(PREFIX)/bin/pyrun
	rm -rf $(DESTDIR)$(PREFIX)/lib/pyrun
	cp -R build/lib/pyrun $(DESTDIR)$(PREFIX)/lib/pyrun
	chmod -R u=rwX,go=rX $(DESTDIR)$(PREFIX)/lib/pyrun
	install -d $(addprefix $(SHARE)/,man/man1 $(dir $(BASH) $(ZSH) $(FISH)))
	$(GENERATE) docs/pages/manual.py $(SHARE)/man/man1
	build/bin/pyrun completion bash > $(SHARE)/$(BASH)
	build/bin/pyrun completion zsh > $(SHARE)/$(ZSH)
	build/bin/pyrun completion fish > $(SHARE)/$(FISH)
	chmod 644 $(SHARE)/man/man1/pyrun*.1 $(addprefix $(SHARE)/,$(BASH) $(ZSH) $(FISH))

clean:
	rm -rf build

build/bin/pyrun: $(SOURCES) build/.venv-run
	@echo "building build/bin/pyrun with $(PYTHON)"
	@$(BUILD) --output $@ --library build/lib/pyrun --dev build/dev
	@touch $@

# The suite's sources in place, on the interpreter of build/venv.
$(SUITE): build/.venv-run
	@mkdir -p $(@D)
	@printf '%s\n' '#!$(CURDIR)/$(PY)' 'import sys' 'sys.path[:0] = ["$(CURDIR)/conformance", "$(CURDIR)/spec"]' \
	  'from oci_conformance.main import main' 'main()' > $@
	@chmod 755 $@

build/test/pyrun-traced: build/bin/pyrun
	@$(BUILD) --output $@ --trace-imports
	@touch $@

# The interpreter's path and version: when they change, what was made with another is made anew.
build/.python: FORCE
	@mkdir -p build
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "no interpreter \"$(PYTHON)\": pyrun needs Python 3.11 or later (Debian: apt-get install python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; print(sys.executable, sys.version)' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; rm -f build/.host-build; fi

build/.host-build: build/.python $(LAUNCHER)/setup_host.sh
	@$(HOST) build
	@touch $@

build/.host-test: build/.host-build
	@$(HOST) test
	@touch $@

build/.host-test-all: build/.host-test
	@$(HOST) test-all
	@touch $@

build/.venv-run: build/.python $(LAUNCHER)/requirements.txt | build/.host-build
	@echo "making build/venv"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check -r $(LAUNCHER)/requirements.txt
	@touch $@

build/.venv-dev: build/.venv-run requirements-dev.txt
	@echo "installing development tools into build/venv"
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@
