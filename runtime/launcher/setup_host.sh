#!/bin/sh
# Install what this machine lacks: `setup_host.sh build` to build and run pyrun, `test` for `make test`, which needs
# little, and `test-all` for engines and a browser, too.
# Debian and root: by apt-get. Otherwise it names what to install and fails, unless only optional things lack.
set -eu

python=${PYTHON:-python3}
build_packages="gcc libc6-dev make git ca-certificates libffi-dev libseccomp2 busybox-static"
# What tests look through, shells for completions, a peer to compare with
test_packages="strace shellcheck zsh fish e2fsprogs iproute2 runc"
# Engines, and what containers serve in their tests
all_packages="podman conmon catatonit docker.io containerd buildah iptables nftables crun redis-server nginx-light curl wget"
# Debian 13 has docker's client in a package of its own, Debian 12 in docker.io.
all_packages="$all_packages docker-cli"
# A browser for the conformance suite's reports
all_packages="$all_packages chromium"
# Kubernetes' side of containerd, and Slurm
all_packages="$all_packages containernetworking-plugins slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"

say() { printf '%s\n' "$*" >&2; }

installed() {
	dpkg-query -W -f='${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed'
}

missing() {
	for package in "$@"; do
		installed "$package" || printf '%s ' "$package"
	done
}

# Those that this Debian has: their names differ from one to the next.
known() {
	for package in "$@"; do
		! apt-cache show "$package" >/dev/null 2>&1 || printf '%s ' "$package"
	done
}

# Daemons that packages bring (dockerd, containerd) must not be started by their installation.
without_services() {
	policy=/usr/sbin/policy-rc.d
	if [ -e "$policy" ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
	status=0
	"$@" || status=$?
	rm -f "$policy"
	trap - EXIT
	return "$status"
}

# apt-get prints hundreds of lines; people get a dot a second, and the end of those lines if it fails.
# Being interrupted waits for apt-get, which can't be without harm, and then ends all.
apt() {
	interrupted=
	trap 'interrupted=1; say " (ending when apt-get has ended)"' HUP INT TERM
	log=$(mktemp)
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		printf . >&2
		sleep 1
	done
	say ""
	status=0
	wait "$pid" || status=$?
	[ "$status" = 0 ] || tail -n 15 "$log" >&2
	rm -f "$log"
	trap - HUP INT TERM
	[ -z "$interrupted" ] || exit 130
	return "$status"
}

install_packages() {
	without_services apt install --no-install-recommends "$@"
}

# The headers and venv module: packages of Debian's own interpreter; any other has to bring them along.
python_packages() {
	case $("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))') in
	/usr/bin/python3*) echo "python3-dev python3-venv" ;;
	esac
}

can_install() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

lacking_commands() {
	command -v gcc >/dev/null || echo "a C compiler (gcc)"
	"$python" -c 'import venv, ensurepip' 2>/dev/null || echo "Python's venv module (Debian: python3-venv)"
	header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
	[ -e "$header" ] || echo "the headers of $python (Debian: python3-dev)"
	echo '#include <ffi.h>' | gcc -E - >/dev/null 2>&1 || echo "libffi's headers (Debian: libffi-dev)"
	command -v busybox >/dev/null || echo "a static busybox (Debian: busybox-static)"
}

require() {
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		say "$python is older than Python 3.11; set PYTHON=/path/to/python3"
		exit 1
	}
	if can_install; then
		# shellcheck disable=SC2046,SC2086
		set -- $(missing $build_packages $(python_packages))
		if [ $# -gt 0 ]; then
			say "installing $*"
			apt update || say "apt-get update failed; going on with the lists that are there"
			install_packages "$@" || say "apt-get could not install all of: $*"
		fi
	fi
	lacks=$(lacking_commands)
	if [ -n "$lacks" ]; then
		say "pyrun can't be built here. Please install:"
		say "$lacks"
		exit 1
	fi
}

offer() {
	if ! can_install; then
		say "not root on Debian: tests that need one of these skip where it is missing: $*"
		return
	fi
	# shellcheck disable=SC2046
	set -- $(missing "$@")
	[ $# -gt 0 ] || return 0
	apt update || true
	# shellcheck disable=SC2046
	set -- $(known "$@")
	[ $# -gt 0 ] || return 0
	say "installing for the tests: $*"
	install_packages "$@" && return
	for package in "$@"; do
		install_packages "$package" || say "not installable here: $package; the tests that need it skip"
	done
}

# shellcheck disable=SC2086 # lists of names
case ${1:-} in
build) require ;;
test) offer $test_packages ;;
test-all) offer $test_packages $all_packages ;;
*)
	say "usage: setup_host.sh build|test|test-all"
	exit 2
	;;
esac
