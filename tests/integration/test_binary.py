"""The binary stands alone: no environment, current directory or library of its caller's changes what it does."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun, new_id

REPOSITORY = Path(__file__).resolve().parents[2]
PLANTED = "import os\nos.write(2, b'PLANTED\\n')\nos._exit(66)\n"
NAMES = "os json re io site sitecustomize encodings posixpath pyrun click jsonschema oci_spec simplejson codecs".split()
KNOWN = [("glibc 2.36", "x86_64"), ("glibc 2.41", "x86_64")]  # as in runtime/launcher/start.c
COMMANDS = [
    ["--version"],
    ["state", "nosuch"],
    ["list"],
    ["--help"],
    ["features"],
    ["spec", "--file", "-"],
    ["nonsense"],
]


def _run(*argv: str | Path, **more: object) -> tuple[int, bytes, bytes]:
    more.setdefault("env", {})
    done = subprocess.run(
        argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, **more
    )  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that must never be imported, as files and as packages."""
    folder = tmp_path_factory.mktemp("planted")
    for name in NAMES:
        (folder / f"{name}.py").write_text(PLANTED)
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(PLANTED)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_callers_world_changes_nothing(
    runtime: Path, planted: Path, tmp_path: Path, command: list[str]
) -> None:
    root = ["--root", str(tmp_path / "root")]
    wanted = _run(runtime, *root, *command, cwd="/")
    assert wanted[1] or wanted[2] or command == ["list"]
    link = tmp_path / "link"
    link.symlink_to(runtime)
    again = tmp_path / "again"
    again.symlink_to("link")
    hostile = {
        "PYTHONPATH": str(planted),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSTARTUP": str(planted / "os.py"),
        "PYTHONINSPECT": "1",
        "PYTHONMALLOC": "debug",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "x",
        "PYTHONHASHSEED": "nonsense",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_PRELOAD": "/nonexistent.so",
        "LD_LIBRARY_PATH": str(planted),
        "LD_BIND_NOW": "1",
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Nowhere/Atlantis",
    }
    assert _run(again, *root, *command, cwd=planted) == wanted
    if command[0] not in ("--help", "nonsense"):
        assert _run(runtime, *root, *command, cwd=planted, env=hostile) == wanted
    else:
        assert _run(runtime, *root, *command, cwd=planted, env={**hostile, "LC_ALL": "C"})[0] == wanted[0]
    assert _run("pyrun", *root, *command, cwd=planted, executable=runtime) == wanted


def test_found_through_path(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "pyrun").symlink_to(runtime)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert _run("sh", "-c", "pyrun --help", env=environment, cwd="/")[0] == 0


def test_in_a_folder_that_is_gone(runtime: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f'mkdir "{gone}"; cd "{gone}"; rmdir "{gone}"; exec "{runtime}" "$0"'
    for command in ("--version", "--help"):
        assert _run("sh", "-c", script, command)[0] == 0


def test_it_is_one_static_file(runtime: Path) -> None:
    needs.program("readelf")
    headers = subprocess.check_output(["readelf", "-lW", runtime], text=True)
    if "INTERP" in headers:
        pytest.skip("needs a libpython.a; this binary is linked with the shared library")
    assert "DYNAMIC" not in headers
    assert " RWE " not in headers  # no memory that is both written and executed


def test_it_asks_the_processor_nothing(runtime: Path) -> None:
    """No CPUID, of which the C library has some forty at each start: in a virtual machine each one goes to the host."""
    needs.program("objdump")
    library = os.confstr("CS_GNU_LIBC_VERSION")
    if b"__start_pyrun_data" not in runtime.read_bytes() or (library, os.uname().machine) not in KNOWN:
        pytest.skip(f"needs a static binary of x86-64 with a C library of {KNOWN}; here is {library}")
    code = subprocess.check_output(["objdump", "-d", "--no-show-raw-insn", runtime], text=True)
    assert code.count("\n") > 100_000
    assert "\tcpuid" not in code


def test_nothing_of_the_builder_is_in_it(runtime: Path) -> None:
    content = runtime.read_bytes()
    for name in ("HOME", "PATH", "PWD", "OLDPWD", "SSH_CONNECTION", "HOSTNAME"):
        value = os.environ.get(name, "")
        if len(value) > 8:
            assert f"{name}={value}".encode() not in content


def test_the_clock_and_the_environment_are_the_callers(runtime: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = int(time.time())
    _run(runtime, "--root", tmp_path / "root", "--log", log, "--log-format", "json", "state", "nosuch")
    record = json.loads(log.read_text().splitlines()[-1])
    said = time.mktime(time.strptime(record["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert before - 1 <= said <= time.time() + 1


def test_the_interpreter_is_missing(runtime: Path, tmp_path: Path) -> None:
    """A copy without its lib/pyrun beside it, and no such interpreter: one sentence that says so."""
    binary = tmp_path / "pyrun"
    binary.write_bytes(runtime.read_bytes().replace(b"/bin/python", b"/bin/nython"))
    binary.chmod(0o755)
    code, out, err = _run(binary, "--help")
    assert (code, out) == (1, b"")
    assert err.startswith(b"pyrun: this command needs the Python interpreter ")
    assert err.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "brackets", [("[", "]"), ('{"x":', "}"), ("[[{", "]"), ('["]", {"a":', "}]")], ids=str
)
@pytest.mark.parametrize("depth", [24, 900, 100_000])
@pytest.mark.parametrize("stack", [64, 128, 8192], ids="{} KiB".format)
def test_deep_nesting_ends_in_a_sentence(
    pyrun: Pyrun, bundle: Callable[..., Bundle], brackets: tuple[str, str], depth: int, stack: int
) -> None:
    """However deep a document, and however small the stack: run, or refused; never a signal. validate as well."""
    opening, closing = brackets
    closed = 1 if closing == "]" and opening == "[[{" else depth  # one that can't end well
    one = bundle(sh="echo ran")
    inner = opening * depth + "1" + closing * closed
    (one.path / "config.json").write_text(f'{json.dumps(one.config)[:-1]}, "deep": {inner}}}')

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (stack << 10, stack << 10))

    result = pyrun("run", "--bundle", str(one.path), new_id(), preexec_fn=limit)
    if depth == 24 and closed > 1:
        assert (result.code, result.out) == (0, "ran\n")
        return
    assert result.code == 1
    assert "is not valid JSON" in result.err
    assert ("nested too deeply" in result.err) == (depth > 24)
    assert pyrun("validate", str(one.path), preexec_fn=limit).code == 1


@pytest.mark.parametrize("length", [1000, 1001, 4301, 20_000, 2_000_000])
@pytest.mark.parametrize("place", ["an unknown property", "process.oomScoreAdj"])
def test_numbers_of_any_length(pyrun: Pyrun, bundle: Callable[..., Bundle], length: int, place: str) -> None:
    """Integers read the same with every Python: up to 1000 digits as numbers, more than that are refused as such."""
    one = bundle(sh="echo ran")
    one.config["process"]["oomScoreAdj" if place.startswith("process") else "unknown"] = 123454321
    text = json.dumps(one.config).replace("123454321", "7" * length)
    (one.path / "config.json").write_text(text)
    result = pyrun("run", "--bundle", str(one.path), new_id())
    words = pyrun("validate", str(one.path)).out
    if length > 1000:
        assert f"a number of {length} digits, where 1000 are the most" in result.err
        assert f"a number of {length} digits" in words
    elif place.startswith("process"):
        assert result.err.startswith("pyrun: process.oomScoreAdj: found a huge number")
        assert "process.oomScoreAdj" in words
    else:
        assert (result.code, result.out) == (0, "ran\n")
    assert "sys.set_int_max_str_digits" not in result.err + words


def test_short_of_memory(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """Too little memory is a sentence about memory, and not an error of ours to be reported."""
    one = bundle({"annotations": {f"key{number}": "x" * 50 for number in range(100_000)}})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (24 << 20, 24 << 20))

    assert pyrun.error("run", "-b", str(one.path), new_id(), preexec_fn=limit).startswith(
        "there is not enough memory"
    )


def test_more_memory_than_the_snapshot_has_to_spare(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    one = bundle(sh='echo "${#LONG}"')
    one.config["annotations"] = {f"org.example.{number}": "x" * 100 for number in range(50_000)}
    one.config["process"]["env"].append("LONG=" + "y" * 100_000)
    one.write()
    assert pyrun.output(one) == "100000\n"


def test_what_a_command_writes_to_lies_together(
    runtime: Path, pyrun: Pyrun, bundle: Callable[..., Bundle]
) -> None:
    """Outside of the pages that it gets in one piece, even run writes to few of the snapshot (runtime/launcher/rows.c).

    1.9 MB before they were put in order.
    """
    if b"pyrun_data" not in runtime.read_bytes():
        pytest.skip("needs a binary with a snapshot")
    arguments = ["run", "--bundle", str(bundle(sh="echo ready; read line").path), new_id()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with pyrun.popen(*arguments, **pipes) as running:
        assert running.stdout.readline() == b"ready\n"
        copied, mine = 0, False
        for line in Path(f"/proc/{running.pid}/smaps").read_text().splitlines():
            first, *rest = line.split()
            if not first.endswith(":"):
                mine = rest[-1:] == [str(runtime.resolve())]
            elif first == "Private_Dirty:" and mine:
                copied += int(rest[0])
        running.communicate(b"\n")
    assert running.returncode == 0
    assert 0 < copied < 600, f"{copied} KB"


def test_standard_descriptors_closed(runtime: Path) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        code, _, _ = _run("sh", "-c", f'exec "$0" --version {closed}', str(runtime))
        assert code in (0, 1)


COLD = [
    "",
    "--help",
    "help run",
    "run --help",
    "features",
    "spec --file -",
    "validate",
    "completion bash",
    "nonsense",
]


def _sentence(binary: Path, *command: str) -> str:
    code, out, err = _run(binary, *command)
    assert (code, out) == (1, b""), (command, code, out, err)
    assert err.startswith(b"pyrun: this command needs the folder "), (command, err)
    assert err.count(b"\n") == 1
    return err.decode()


@pytest.fixture
def alone(runtime: Path, tmp_path: Path) -> Path:
    """The binary in a bin folder, and no lib/pyrun beside it."""
    binary = tmp_path / "prefix/bin/pyrun"
    binary.parent.mkdir(parents=True)
    shutil.copy(runtime, binary)
    return binary


@pytest.mark.parametrize("command", COLD, ids=lambda command: command or "nothing")
def test_a_binary_alone_names_the_folder_that_is_missing(alone: Path, command: str) -> None:
    """Each command that needs lib/pyrun says in one sentence that it isn't there, and where it should be."""
    assert f"the folder {alone.parents[1]}/lib/pyrun, which is not there" in _sentence(
        alone, *command.split()
    )


@pytest.fixture
def library(alone: Path, runtime: Path) -> Path:
    """A copy of lib/pyrun beside the binary, which everyone can get to."""
    folder = alone.parents[1] / "lib/pyrun"
    shutil.copytree(runtime.parents[1] / "lib/pyrun", folder)
    for path in [*alone.parents[:5], folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return folder


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("pyrun/commands/features.py", "features"),
        ("click", "--help"),
        ("click", "run --nonsense"),
        ("jsonschema", "validate"),
        ("_pyrun_build.py", "spec --file -"),
    ],
)
def test_incomplete_library_folder_is_named(alone: Path, library: Path, missing: str, command: str) -> None:
    """Whichever module is missing, the first or one imported later: one sentence with the folder and the module."""
    path = library / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    said = _sentence(alone, *command.split())
    assert f"the folder {library}, which is not whole" in said
    assert path.stem in said


def test_a_folder_that_only_root_may_read_is_named(alone: Path, library: Path) -> None:
    """For another user, for whom a file of the folder can't be read: the same sentence, and no traceback."""
    needs.root()
    for path in (library / "pyrun/commandline").rglob("full.*py*"):
        path.chmod(0o600)
    code, out, err = _run(alone, "features", user=65534, group=65534, extra_groups=[], cwd="/")
    assert (code, out, err.count(b"\n")) == (1, b"", 1), err
    assert f"the folder {library}, which is not whole".encode() in err


def test_a_binary_alone_manages_containers(
    alone: Path, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """All that makes and manages containers works without lib/pyrun."""
    one = Pyrun(alone, tmp_path / "run")
    container = one.create(bundle(sh="while :; do sleep 1; done"))
    assert one.ok("list", "--format", "json").out.startswith("[{")
    container.start()
    assert container.sh("echo $PPID") == "0\n"
    for command in ("pause", "resume", "ps", "update --pids-limit=100", "events --stats", "kill"):
        name, *options = command.split()
        one.ok(name, *options, container.id, *(["KILL"] if name == "kill" else []))
    container.wait()
    container.delete()
    assert one.output(bundle(sh="echo $$")) == "1\n"
    assert not one.leftovers()


@pytest.fixture
def make_install(runtime: Path) -> list[str]:
    """The command line that installs what is built, below DESTDIR/opt/x; DESTDIR is to be added."""
    needs.program("make")
    if runtime != REPOSITORY / "build/bin/pyrun":
        pytest.skip("needs build/bin/pyrun as the runtime under test")
    return ["make", "-C", str(REPOSITORY), "install", "-o", "build/bin/pyrun", "PREFIX=/opt/x"]


def test_installed_by_make(
    runtime: Path, make_install: list[str], tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """What `make install` installs works as what is built does, and writes nothing beside itself when it is used."""
    assert _run(*make_install, f"DESTDIR={tmp_path}", env={"PATH": os.environ["PATH"]})[0] == 0
    installed = tmp_path / "opt/x/bin/pyrun"
    assert stat.S_IMODE(installed.stat().st_mode) == 0o755
    before = set((tmp_path / "opt").rglob("*"))
    for command in ("--help", "features"):
        assert _run(installed, command, cwd="/") == _run(runtime, command, cwd="/")
    one = Pyrun(installed, tmp_path / "run")
    assert one.output(bundle(sh="echo $$")) == "1\n"
    assert not one.leftovers()
    assert set((tmp_path / "opt").rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="umask-{:03o}".format)
def test_only_the_owner_writes_installed_files(make_install: list[str], tmp_path: Path, umask: int) -> None:
    """`make install` gives the same modes whatever the umask is, and was when it was built."""
    built = tmp_path / "built"  # as a clone would be that was made and built with this umask
    shutil.copytree(REPOSITORY / "build/lib", built / "build/lib")
    (built / "build/bin").mkdir()
    shutil.copy(REPOSITORY / "build/bin/pyrun", built / "build/bin")
    for path in built.rglob("*"):
        path.chmod((0o777 if path.is_dir() or path.name == "pyrun" else 0o666) & ~umask)
    for name in ("Makefile", "docs", "runtime", "spec", "pyproject.toml", "build/venv"):
        (built / name).symlink_to(REPOSITORY / name)
    make_install[2] = str(built)
    target = tmp_path / "target"
    code, _, err = _run(*make_install, f"DESTDIR={target}", env={"PATH": os.environ["PATH"]}, umask=umask)
    assert code == 0, err
    installed = {path: stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*")}
    for path, mode in installed.items():
        wanted = (0o755,) if path.is_dir() or path == target / "opt/x/bin/pyrun" else (0o644, 0o755)
        assert mode in wanted, f"{path}: {mode:o}"
    assert {path.name for path in installed} >= {
        "pyrun.1",
        "pyrun-create.1",
        "_pyrun",
        "pyrun.fish",
        "full.py",
    }
