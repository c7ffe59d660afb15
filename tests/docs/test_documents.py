"""What the documents show works, and what they quote is what pyrun says."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import needs
import pytest
from bundles import new_id

REPOSITORY = Path(__file__).resolve().parents[2]
MADE = {"cli.md", "conformance.md", "files.md", "habits.md", "properties.md"}
SHORTEST = 8  # characters of a quoted piece that say anything


def indented(document: str) -> list[str]:
    """The lines of a document's indented examples, without their comments."""
    lines = (REPOSITORY / document).read_text().splitlines()
    return [line.strip().partition("  #")[0].strip() for line in lines if line.startswith("    ")]


def installed(prefix: Path) -> Path:
    """`make install` as in the README, with another PREFIX, of what is built already."""
    if not (REPOSITORY / "build/bin/pyrun").is_file():
        pytest.skip("needs build/bin/pyrun, which make builds")
    needs.program("make")
    line = next(line for line in indented("README.md") if line.startswith("make install PREFIX="))
    command = [*line.partition("PREFIX=")[0].split(), f"PREFIX={prefix}"]
    built = [word for target in ("build/bin/pyrun", "build/.venv-run") for word in ("--old-file", target)]
    done = subprocess.run(
        [*command, *built], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return prefix / "bin"


def test_the_readmes_first_container_runs(busybox, tmp_path):
    """The lines under Install, pasted into a terminal: they build a container that greets with a shell's prompt."""
    needs.program("busybox", "script")
    programs = installed(tmp_path / "prefix")
    examples = indented("README.md")
    first = next(number for number, line in enumerate(examples) if line.startswith("mkdir"))
    last = next(number for number, line in enumerate(examples) if line.startswith("pyrun run"))
    assert last - first < 8
    container_id = new_id()
    script = "\n".join(["set -e", *examples[first : last + 1]]).replace("run hello", f"run {container_id}")
    (tmp_path / "pasted").write_text(script)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/busybox").symlink_to(busybox)
    environment = {"PATH": f"{programs}:{tmp_path}/tools:/usr/bin:/bin", "TERM": "dumb"}
    with subprocess.Popen(
        ["script", "--quiet", "--return", "--command", "sh pasted", "/dev/null"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as terminal:
        assert terminal.stdin
        assert terminal.stdout
        said = b""
        while b"/ # " not in said and (part := terminal.stdout.read(4096)):
            said += part
        terminal.stdin.write(b"id -u; ls / | cat; hostname; exit 7\n")
        said += terminal.stdout.read()
        status = terminal.wait(20)
    text = said.decode()
    assert status == 7, text
    assert "can't" not in text, text
    for word in ("bin", "dev", "proc", "sys", "pyrun"):
        assert word in text.replace("\r", "").split("exit 7\n")[-1].split(), text


@pytest.mark.parametrize("file", ["podman/containers.conf", "docker/daemon.json", "containerd/config.toml"])
def test_contribs_files_name_the_runtime_and_leave_the_engines_own_settings(file: str):
    """podman and docker keep the cgroup driver that they would have. containerd has no default that fits kubelet's, so
    its file says what it has without that line, too."""
    text = (REPOSITORY / "contrib" / file).read_text()
    found = json.loads(text) if file.endswith(".json") else tomllib.loads(text)
    if file == "podman/containers.conf":
        assert found == {"engine": {"runtime": "pyrun", "runtimes": {"pyrun": ["/usr/local/bin/pyrun"]}}}
    elif file == "docker/daemon.json":
        assert found == {"runtimes": {"pyrun": {"path": "/usr/local/bin/pyrun"}}, "default-runtime": "pyrun"}
    else:
        runtimes = found["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
        assert runtimes["pyrun"]["options"]["SystemdCgroup"] is False


def test_unfrozen_it_is_the_same_program():
    """The line of CONTRIBUTING.md that runs pyrun under an ordinary interpreter."""
    if not (REPOSITORY / "build/dev/_pyrun_build.py").is_file():
        pytest.skip("needs build/dev, which make builds")
    needs.program("env")
    line = next(line for line in indented("CONTRIBUTING.md") if "python3 -m pyrun" in line)
    command = line[: line.index("--root")].replace("python3", sys.executable) + "--version"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=REPOSITORY,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("pyrun version "), done


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A folder with what `make docs` makes."""
    if not (REPOSITORY / "build/dev/_pyrun_build.py").is_file():
        pytest.skip("needs build/dev, which make builds")
    folder = tmp_path_factory.mktemp("docs")
    roots = [REPOSITORY / root for root in ("runtime", "spec", "conformance", "build/dev", "docs")]
    subprocess.run(
        [sys.executable, "-m", "pages", folder],
        env={"PATH": os.defpath, "PYTHONPATH": ":".join(map(str, roots)), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    return folder


def names(page: Path, pattern: str) -> list[str]:
    """What a pattern finds in the first cells of a page's tables; nothing twice."""
    found = re.findall(pattern, page.read_text(), re.MULTILINE)
    assert len(found) == len(set(found))
    return found


def test_each_made_page_leads_somewhere(pages):
    """Links are relative to build/docs, where make puts the pages."""
    assert {path.name for path in pages.iterdir()} == {"man1", *MADE}
    for page in pages.glob("*.md"):
        for target in re.findall(r"\]\((?!https:)([^)#]+)", page.read_text()):
            assert (REPOSITORY / "build/docs" / target).resolve().is_file(), f"{page.name}: {target}"


def test_the_page_of_properties_has_each_property_once(pages):
    """Made from the tables and the refusals."""
    assert len(names(pages / "properties.md", r"^\| \**`(\S+)`")) > 150


def test_the_page_of_requirements_has_each_requirement_once(pages):
    """Made from the catalogue and the suite."""
    assert len(names(pages / "conformance.md", r"^\| `(\S+)`")) > 500


def test_the_page_of_habits_has_each_habit_once(pages):
    """Made from the records, with what is known of pyrun and its peers."""
    found = names(pages / "habits.md", r"^\| `(habits\.\S+)`: ")
    assert len(found) > 30
    assert set(found) == set(names(pages / "conformance.md", r"^\| `(habits\.\S+)` "))


def test_no_made_page_is_in_the_repository():
    for name in MADE:
        assert not (REPOSITORY / "docs" / name).exists(), f"docs/{name} is made by make docs, into build/docs"


@cache
def texts() -> str:
    """Every text constant of the runtime and of the rules, parts of f-strings included, a line each."""
    found = []
    for path in [*(REPOSITORY / "runtime/pyrun").rglob("*.py"), *(REPOSITORY / "spec/oci_spec").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def quoted() -> list[str]:
    """What troubleshooting.md quotes of errors: the first cell of a table's row, or a paragraph's bold beginning."""
    text = (REPOSITORY / "docs/troubleshooting.md").read_text()
    return re.findall(r"^(?:\| |\*\*)`([^`]+)`", text, re.MULTILINE)


@pytest.mark.parametrize("sentence", quoted())
def test_quoted_errors_are_what_pyrun_says(sentence: str):
    """Each piece of a sentence stands in the sources; … is what differs from case to case."""
    pieces = [
        piece for piece in re.split(r"…|: | \((?=r)|\)$", sentence) if len(piece.strip(" :")) >= SHORTEST
    ]
    assert pieces
    for piece in pieces:
        assert piece in texts(), piece
