"""The manual pages and what make install leaves: made from the command table, complete, and read by man without a
word of complaint."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import needs
import pytest

from pyrun.commandline.table import COMMANDS, GLOBAL, HIDDEN

REPOSITORY = Path(__file__).resolve().parents[2]
SHOWN = [name for name in COMMANDS if name not in HIDDEN]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """File name -> page."""
    path = REPOSITORY / "docs/pages/manual.py"
    spec = importlib.util.spec_from_file_location("manual", path)
    assert spec
    assert spec.loader
    generator = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(generator)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}, which make builds")
    made: dict[str, str] = generator.pages()
    return made


def rendered(text: str) -> str:
    """What groff makes of a page, in one line; it may warn of nothing."""
    needs.program("groff")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-cbou", "-rLL=200n"],
        input=text,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return " ".join(done.stdout.replace("\N{HYPHEN}", "-").split())


def test_each_command_has_a_page(pages: dict[str, str]) -> None:
    assert set(pages) == {"pyrun.1", *[f"pyrun-{name}.1" for name in SHOWN]}


@pytest.mark.parametrize("name", ["", *SHOWN])
def test_a_page_has_every_option_and_renders(name: str, pages: dict[str, str]) -> None:
    """Names, values and explanations stand in the rendered text as they are in the table."""
    text = rendered(pages[f"pyrun-{name}.1" if name else "pyrun.1"])
    arguments, table, about = COMMANDS[name][:3] if name else ((), GLOBAL, "OCI container runtime")
    assert about in text
    assert all(metavar in text for metavar in arguments)
    for names, _, metavar, meaning in table:
        assert f"{', '.join(names)} {metavar}".rstrip() in text
        assert meaning[1:] in text


def test_dashes_can_be_copied(pages: dict[str, str]) -> None:
    """A dash of an option is a minus sign to roff, not a hyphen, which some terminals show as another letter."""
    for text in pages.values():
        assert not re.search(r"(?<![\w\\])-|\\-[\w]+-\w", text)
        assert text.isascii()


def test_the_main_page_names_all_others(pages: dict[str, str]) -> None:
    text = rendered(pages["pyrun.1"])
    assert [name for name in SHOWN if f"pyrun-{name}(1)" not in text] == []


def test_make_install_installs_pages_and_completions(
    runtime: Path, tmp_path: Path, pages: dict[str, str]
) -> None:
    """Under DESTDIR and PREFIX, where man and the shells look for them; nothing else is there."""
    needs.program("make")
    if runtime != REPOSITORY / "build/bin/pyrun":
        pytest.skip("needs build/bin/pyrun as the runtime under test")
    make = ["make", "-C", str(REPOSITORY), "install", "-o", "build/bin/pyrun", "PREFIX=/opt/x"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*make, f"DESTDIR={tmp_path}"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    share = tmp_path / "opt/x/share"
    completions = {
        "bash": share / "bash-completion/completions/pyrun",
        "zsh": share / "zsh/site-functions/_pyrun",
        "fish": share / "fish/vendor_completions.d/pyrun.fish",
    }
    man = {path.name: path for path in (share / "man/man1").iterdir()}
    assert {path for path in share.rglob("*") if path.is_file()} == {*man.values(), *completions.values()}
    assert set(man) == set(pages)
    for shell, path in completions.items():
        printed = subprocess.run([runtime, "completion", shell], capture_output=True, text=True, check=True)
        assert path.read_text() == printed.stdout
    if shutil.which("man"):
        shown = subprocess.run(
            ["man", "-l", "--warnings", str(man["pyrun-exec.1"])],
            env={**environment, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--additional-gids" in shown.stdout
        assert shown.stderr == ""
