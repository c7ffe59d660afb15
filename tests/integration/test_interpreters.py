"""The binary built with every supported interpreter of this machine, and installed by pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHER = REPOSITORY / "runtime/launcher"
SOURCES = REPOSITORY / "build/obj/sources"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ASK = "import sys, sysconfig; print(*sys.version_info[:2], sys.executable, sysconfig.get_path('include'))"


def interpreters() -> dict[str, Path]:
    """The interpreters that have their headers: "3.13 in /usr/bin" → path."""
    folders = [Path(each) for each in os.environ.get("PATH", "").split(":") if each]
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    found: dict[str, Path] = {}
    for folder in [Path("/usr/bin"), *sorted(versions.glob("*/bin")), *folders]:
        for version in VERSIONS:
            path = folder / f"python{version}"
            if not path.is_file():
                continue
            done = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True, check=False)
            said = done.stdout.split()  # what is called python3.11 may be a version manager's script
            if done.returncode or said[:2] != version.split(".") or not Path(said[3], "Python.h").is_file():
                continue
            path = Path(os.path.realpath(said[2]))
            if path not in found.values():
                found[f"{version} in {path.parent}"] = path
    return found


FOUND = interpreters()


def _run(*argv: str | Path, **more: object) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _environment(python: Path, folder: Path, *packages: str) -> Path:
    """A virtual environment's interpreter."""
    _run(python, "-m", "venv", folder)
    if packages:
        _run(folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
    return folder / "bin/python"


def _works(runtime: Path, folder: Path, bundle: Callable[..., Bundle]) -> None:
    """A container runs, in the foreground and step by step, and the full interpreter is found."""
    pyrun = Pyrun(runtime, folder)
    assert pyrun.output(bundle({"hostname": "x"}, sh="echo $$; hostname")) == "1\nx\n"
    container = pyrun.create(bundle(sh="exit 3"))
    assert container.status == "created"
    container.finish()
    assert "Usage" in pyrun.ok("--help").out
    assert "nested too deeply" in pyrun.error(
        "create", "--bundle", str(_deep(folder, bundle)), "pyrun-test-deep"
    )
    assert not pyrun.leftovers()


def _deep(folder: Path, bundle: Callable[..., Bundle]) -> Path:
    """A bundle whose config.json would overflow a stack: the snapshot was taken on another."""
    one = bundle()
    (one.path / "config.json").write_text("[" * 200_000)
    return one.path


@pytest.mark.parametrize("name", FOUND)
def test_built_with(name: str, tmp_path: Path, bundle: Callable[..., Bundle]) -> None:
    python = _environment(FOUND[name], tmp_path / "venv", "-r", str(LAUNCHER / "requirements.txt"))
    if SOURCES.is_dir():
        shutil.copytree(SOURCES, tmp_path / "obj/sources")
    binary = tmp_path / "bin/pyrun"
    build = [python, "-X", "no_debug_ranges", LAUNCHER / "build.py", "--output", binary]
    _run(*build, "--work", tmp_path / "obj/work", "--library", tmp_path / "lib/pyrun")
    _works(binary, tmp_path / "run", bundle)
    has_archive = [python, "-c", "import sysconfig; print(sysconfig.get_config_var('LIBPL'))"]
    folder = subprocess.check_output(has_archive, text=True).strip()
    if list(Path(folder).glob("libpython*.a")) and not name.startswith("3.14"):
        assert b"pyrun_data" in binary.read_bytes(), "not the fastest way to link"


UNORDERED = {
    "the script fails": "layout.script = lambda: 'nonsense('",
    "the script isn't there": "layout.FUNCTIONS = layout.FUNCTIONS.with_name('nonsense')",
    "it says nothing of use": "layout.script = lambda: 'import posix; posix.write(1, b\"hot air\")'",
    "no room in a row": "layout.rows_by_number = lambda _: bytes([layout.ROWS['hot']]) * 100_000",
    "two runs differ": "layout.are_alike = lambda *_: False",
}


LINK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import layout, link, tools
{change}
work, output = Path(sys.argv[2]), Path(sys.argv[3])
names = "_cffi_backend _speedups _pyrun_kernel data builtin pyrun-snapshot snapshot heap rows".split()
link.link_snapshot(tools.Compiler(work, []), [work / f"{{name}}.o" for name in names], output)
"""


@pytest.mark.parametrize("change", UNORDERED)
def test_linked_without_an_order(change: str, tmp_path: Path, bundle: Callable[..., Bundle]) -> None:
    """Where it can't be found out what commands write to, the build says so and gives a binary that works."""
    made = SOURCES.with_name(str(sysconfig.get_config_var("SOABI")))
    if not (made / "pyrun.raw").is_file():
        pytest.skip(f"needs {made}/pyrun.raw, which make leaves where the start can be a snapshot")
    shutil.copytree(made, tmp_path / "work")
    (tmp_path / "bin").mkdir()
    binary = tmp_path / "bin/pyrun"
    script = LINK.format(change=UNORDERED[change])
    done = subprocess.run(
        [sys.executable, "-c", script, LAUNCHER, tmp_path / "work", binary],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not in the best order" in done.stderr
    assert (
        Pyrun(binary, tmp_path / "run").output(bundle({"hostname": "x"}, sh="echo $$; hostname")) == "1\nx\n"
    )


def test_installed_by_pip(tmp_path: Path, bundle: Callable[..., Bundle]) -> None:
    _environment(Path(sys.executable), tmp_path / "venv", str(REPOSITORY))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "venv/bin/pyrun")
    assert link.read_bytes()[:4] == b"\x7fELF"
    _works(link, tmp_path / "run", bundle)


NO_LIBPYTHON = """
import sys
sys.path.insert(0, sys.argv[1])
import backend, build
def link(*_):
    raise build.Failed("no libpython")
build.link = link
print(backend.build_wheel(sys.argv[2]))
"""


def test_installed_by_pip_without_a_libpython(tmp_path: Path, bundle: Callable[..., Bundle]) -> None:
    _run(sys.executable, "-c", NO_LIBPYTHON, LAUNCHER, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    _environment(Path(sys.executable), tmp_path / "venv", str(wheel))
    assert (tmp_path / "venv/bin/pyrun").read_bytes()[:9] == b"#!/bin/sh"
    _works(tmp_path / "venv/bin/pyrun", tmp_path / "run", bundle)


def test_a_source_distribution_builds(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import backend; backend.build_sdist(sys.argv[2])"
    _run(sys.executable, "-c", script, LAUNCHER, tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    names = subprocess.check_output(["tar", "-tzf", archive], text=True).splitlines()
    base = archive.name.removesuffix(".tar.gz")
    for name in ("PKG-INFO", "pyproject.toml", "runtime/launcher/pyrun.c", "runtime/pyrun/main.py"):
        assert f"{base}/{name}" in names
    assert not [name for name in names if "__pycache__" in name]
