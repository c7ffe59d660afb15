"""The binary stands alone: no environment, current directory or library of its caller's changes what it does."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun, new_id

PLANTED = "import os\nos.write(2, b'PLANTED\\n')\nos._exit(66)\n"
NAMES = "os json re io site sitecustomize encodings posixpath pyrun click jsonschema oci_spec simplejson codecs".split()
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


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting_ends_in_a_sentence(pyrun: Pyrun, bundle: Callable[..., Bundle], depth: int) -> None:
    one = bundle()
    text = json.dumps(one.config)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    (one.path / "config.json").write_text(text)
    result = pyrun("run", "--bundle", str(one.path), new_id())
    assert result.code == (0 if depth == 500 else 1)
    assert ("nested too deeply" in result.err) == (depth != 500)


def test_more_memory_than_the_snapshot_has_to_spare(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    one = bundle(sh='echo "${#LONG}"')
    one.config["annotations"] = {f"org.example.{number}": "x" * 100 for number in range(50_000)}
    one.config["process"]["env"].append("LONG=" + "y" * 100_000)
    one.write()
    assert pyrun.output(one) == "100000\n"


def test_standard_descriptors_closed(runtime: Path) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        code, _, _ = _run("sh", "-c", f'exec "$0" --version {closed}', str(runtime))
        assert code in (0, 1)


def test_installed_by_make(runtime: Path, tmp_path: Path, bundle: Callable[..., Bundle]) -> None:
    repository = Path(__file__).resolve().parents[2]
    needs.program("make")
    if runtime != repository / "build/bin/pyrun":
        pytest.skip("needs build/bin/pyrun as the runtime under test")
    make = [
        "make",
        "-C",
        str(repository),
        "install",
        "-o",
        "build/bin/pyrun",
        "PREFIX=/opt/x",
        f"DESTDIR={tmp_path}",
    ]
    assert _run(*make, env={"PATH": os.environ["PATH"]})[0] == 0
    installed = tmp_path / "opt/x/bin/pyrun"
    assert stat.S_IMODE(installed.stat().st_mode) == 0o755
    before = set((tmp_path / "opt").rglob("*"))
    for command in ("--help", "features"):
        assert _run(installed, command, cwd="/") == _run(runtime, command, cwd="/")
    one = Pyrun(installed, tmp_path / "run")
    assert one.output(bundle(sh="echo $$")) == "1\n"
    assert not one.leftovers()
    assert set((tmp_path / "opt").rglob("*")) == before
