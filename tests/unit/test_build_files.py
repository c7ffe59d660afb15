"""The build's own files agree with each other, and its reader of ELF files with readelf."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import needs
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "runtime/launcher"))

import backend  # noqa: E402
import build  # noqa: E402
import link  # noqa: E402
from tools import Failed  # noqa: E402

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def _pins(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "-r ")):
            match = re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][0-9A-Za-z.]*)", line)
            assert match, f"{path.name}: not pinned: {line}"
            found[match[1].lower()] = match[2]
    return found


def test_every_tool_is_pinned() -> None:
    tools, ours = _pins(REPOSITORY / "requirements-dev.txt"), _pins(build.LAUNCHER / "requirements.txt")
    assert not tools.keys() & ours.keys()
    assert {"pytest", "hypothesis", "ruff", "mypy"} <= tools.keys()
    wanted = {re.split("[<>=]", each)[0] for each in PYPROJECT["project"]["dependencies"]}
    assert wanted <= ours.keys()


def test_cffi_has_one_version() -> None:
    """Its module that is linked in, the one that writes our C source, and the one of the full interpreter agree."""
    version = _pins(build.LAUNCHER / "requirements.txt")["cffi"]
    assert f"cffi=={version}" in PYPROJECT["build-system"]["requires"]
    assert f"\ncffi=={version} --hash" in (build.LAUNCHER / "sources.txt").read_text()


def test_sources_of_others_are_pinned_by_their_content(tmp_path: Path) -> None:
    """An archive that isn't what the file pins is refused, and nothing of it is unpacked."""
    archive, pins = tmp_path / "some-1.0.tar.gz", tmp_path / "sources.txt"
    (tmp_path / "some-1.0").mkdir()
    (tmp_path / "some-1.0/file.c").touch()
    subprocess.run(["tar", "-C", tmp_path, "-czf", archive, "some-1.0"], check=True)
    shutil.rmtree(tmp_path / "some-1.0")
    pins.write_text(f"some==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Failed, match=f"{archive} has another content than {pins} pins"):
        build.sources(tmp_path, pins)
    assert not (tmp_path / "some-1.0").exists()
    pins.write_text(f"some==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}\n")
    assert (build.sources(tmp_path, pins)["some"] / "file.c").is_file()


def test_pip_checks_the_content_of_a_source_before_it_runs_anything_of_it(tmp_path: Path) -> None:
    """pip runs a source distribution's own code to learn its name: not before the check."""
    folder, pins = tmp_path / "index/some-1.0", tmp_path / "sources.txt"
    folder.mkdir(parents=True)
    (folder / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    subprocess.run(["tar", "-C", folder.parent, "-czf", f"{folder}.tar.gz", folder.name], check=True)
    pins.write_text(f"--no-index\n--find-links {folder.parent}\nsome==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Failed, match="DO NOT MATCH THE HASHES"):
        build.sources(tmp_path, pins)
    assert not (tmp_path / "ran").exists()


def test_metadata_has_the_version_and_the_dependencies() -> None:
    text = backend._metadata()
    assert f"\nVersion: {build.version()}\n" in text
    assert text.count("\nRequires-Dist: ") == len(PYPROJECT["project"]["dependencies"])


def test_sections_are_what_readelf_says() -> None:
    needs.program("readelf")
    image = REPOSITORY / "build/bin/pyrun"
    path = image if image.is_file() else Path(sys.executable)
    text = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    pattern = r"\[ *\d+\] (\S*) +\S+ +([0-9a-f]{16}) ([0-9a-f]{6,}) ([0-9a-f]{6,}) [0-9a-f]{2} +([A-Z]*) "
    said = [
        (m[1], "W" in m[5] and "T" not in m[5], *(int(m[n], 16) for n in (2, 3, 4)))
        for m in re.finditer(pattern, text)
    ]
    ours = [tuple(each) for each in link.sections(path.read_bytes())]
    assert len(said) > 10
    for each in said:
        if each[0].startswith((".data", ".bss", ".text", "pyrun_data")):
            assert each in ours


def _make(folder: Path, *arguments: str) -> tuple[int, str]:
    """`make` in `folder` under a plain environment: its status, and all that it said."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    command = ["make", "-C", str(folder), "--no-print-directory", *arguments]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A tree that was never built in."""
    needs.program("make")
    for name in ("Makefile", "runtime", "spec", "pyproject.toml", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


def test_the_first_rule_on_a_fresh_clone_says_nothing(clone: Path) -> None:
    """Which interpreter it is gets noted without a word, once; another one makes what was set up stale."""
    python = clone / "build/.python"
    ready = clone / "build/.host-build"
    assert _make(clone, "build/.python", f"PYTHON={sys.executable}") == (0, "")
    noted = python.stat().st_mtime_ns, python.read_text()
    assert noted[1].startswith(sys.executable)
    ready.touch()
    assert _make(clone, "build/.python", f"PYTHON={sys.executable}") == (0, "")
    assert (python.stat().st_mtime_ns, python.read_text()) == noted
    assert ready.exists()
    assert [path.name for path in python.parent.iterdir() if path.name.startswith(".python")] == [".python"]
    other = clone / "python"
    other.symlink_to(sys.executable)
    assert _make(clone, "build/.python", f"PYTHON={other}") == (0, "")
    assert python.read_text() != noted[1]
    assert not ready.exists()


@pytest.mark.parametrize("python", ["", "/no/python3"], ids=["none-found", "none-there"])
def test_without_python_one_line_says_what_to_install(clone: Path, python: str) -> None:
    """No interpreter at all: make's own words, and one line that names what is missing."""
    status, said = _make(clone, "demo", f"PYTHON={python}")
    assert status != 0
    assert said.count("needs Python 3.11 or later") == 1
    assert len(said.splitlines()) == 2


def _asked(target: str) -> list[str]:
    """The words of the line by which make would call pytest, and of what it would install, were nothing there yet."""
    needs.program("make")
    command = ["make", "--dry-run", "--always-make", target]
    lines = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    calls = [line for line in lines.splitlines() if "-m pytest" in line or "setup_host.sh" in line]
    return " ".join(calls).split()


def _packages(name: str) -> set[str]:
    """A list of Debian packages in setup_host.sh."""
    text = (build.LAUNCHER / "setup_host.sh").read_text()
    return set(" ".join(re.findall(rf'^{name}="([^"]*)"', text, re.MULTILINE)).split()) - {f"${name}"}


ENGINES = {"podman", "docker.io", "containerd", "buildah", "slurmd", "chromium", "nginx-light"}


def test_make_test_needs_no_engine_and_no_browser() -> None:
    words = _asked("test")
    assert "tests/integration" in words
    assert not {"tests/engines", "tests/crash", "tests/conformance", "test-all"} & set(words)
    assert words[words.index("-m", words.index("pytest")) + 1 :][:2] == ['"not', 'slow"']
    assert not ENGINES & _packages("test_packages")
    assert _packages("all_packages") >= ENGINES


def test_make_test_all_runs_every_test_and_ci_calls_it() -> None:
    """But for those of the virtual machine, which has a target of its own."""
    words = _asked("test-all")
    assert "test-all" in words
    assert "slow" not in " ".join(words)
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        name = str(path.relative_to(REPOSITORY))
        if not name.startswith("tests/vm/guest/"):
            assert any(name == word or name.startswith(f"{word}/") for word in words), name
    assert "make test-all" in (REPOSITORY / ".ci/run").read_text().splitlines()
