"""The manual pages pyrun(1) and pyrun-COMMAND(1), from the command table, in the language of man(7).

`python docs/pages/manual.py FOLDER` writes them; `make install` does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pyrun.base.built import VERSION
from pyrun.commandline.click_ import HELP
from pyrun.commandline.help import ABOUT, DETAILS
from pyrun.commandline.table import COMMANDS, GLOBAL, HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.commandline.parse import Option

SHOWN = {name: entry[:3] for name, entry in COMMANDS.items() if name not in HIDDEN}

SYNTAX = """Options with a value take it as the next word or after =. Global options stand before the command, a
command's own anywhere after it, except with commands that take a program's words: there they stand before the ID.
After -- there are only arguments. Given twice, the last one counts."""

STATUS = """0; 1 for any error, wrong usage included; that of the container's program with run and exec (128 + n if
signal n ended it). Every error is one sentence on standard error, and the last record of the file of --log."""

EXAMPLE = r"""mkdir -p bundle/rootfs && cd bundle   # put a root file system into rootfs
pyrun spec
pyrun run hello"""


def page(name: str, what: str, sections: list[tuple[str, str]]) -> str:
    """One page: its name, what it is about, and sections of text that is already escaped; empty ones are left out."""
    lines = [
        '.\\" Made by docs/pages/manual.py from runtime/pyrun/commandline/table.py: change that.',
        f'.TH {name.upper()} 1 "" "pyrun {VERSION}" "pyrun manual"',
        ".nh",  # no word of a command line is to be divided
        ".SH NAME",
        f"{name} \\- {escaped(what)}",
    ]
    for title, text in sections:
        if text:
            lines += [f".SH {title}", text]
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Text as man(7) wants it: dashes that may be copied, no line that looks like a request, only ASCII."""
    text = text.replace("\\", "\\e")
    # whole options, and signs of numbers; a hyphen within a word stays one
    text = re.sub(r"(?<![\w-])-[\w-]*", lambda found: found[0].replace("-", "\\-"), text)
    text = re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
    return "".join(letter if ord(letter) < 127 else f"\\[u{ord(letter):04X}]" for letter in text)


def literal(text: str) -> str:
    """Words to be typed: each dash is one."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def bold(text: str) -> str:
    """Words to be typed as they are."""
    return f"\\fB{literal(text)}\\fR"


def value(metavar: str) -> str:
    """What is to be replaced by a value; "" if there is none."""
    return f"\\fI{literal(metavar)}\\fR" if metavar else ""


def sentence(text: str) -> str:
    """With a capital letter, if it begins with a word of our own."""
    return text[0].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def options(table: Iterable[Option]) -> str:
    """A list of options."""
    lines = []
    for names, _, metavar, text in table:
        flags = ", ".join(map(bold, names))
        lines += [".TP", f"{flags} {value(metavar)}".rstrip(), f"{escaped(sentence(text))}."]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name -> page."""
    commands = "\n".join(
        f".TP\n\\fBpyrun\\-{literal(name)}\\fR(1)\n{escaped(sentence(text))}."
        for name, (_, _, text) in SHOWN.items()
    )
    found = {
        "pyrun.1": page(
            "pyrun",
            "OCI container runtime",
            [
                ("SYNOPSIS", f"{bold('pyrun')} [global options] {value('COMMAND')} [options] [arguments]"),
                ("DESCRIPTION", f"{escaped(ABOUT)}\n.PP\n{escaped(SYNTAX)}"),
                ("GLOBAL OPTIONS", options((*GLOBAL, HELP))),
                ("COMMANDS", commands),
                ("EXIT STATUS", escaped(STATUS)),
                (
                    "FILES",
                    f".TP\n\\fI{literal('/run/pyrun')}\\fR\nThe state of containers, unless \\-\\-root says otherwise.",
                ),
                ("EXAMPLE", f".nf\n{literal(EXAMPLE)}\n.fi"),
                ("SEE ALSO", ",\n".join(f"\\fBpyrun\\-{literal(name)}\\fR(1)" for name in SHOWN)),
            ],
        )
    }
    for name, (arguments, table, text) in SHOWN.items():
        words = [bold(f"pyrun {name}"), *["[options]"] * bool(table), *map(value, arguments)]
        prose = f"{sentence(text)}. {DETAILS.get(name, '')}".rstrip()
        found[f"pyrun-{name}.1"] = page(
            f"pyrun-{name}",
            text,
            [
                ("SYNOPSIS", " ".join(words)),
                ("DESCRIPTION", escaped(prose)),
                ("OPTIONS", options((*table, HELP))),
                ("SEE ALSO", "\\fBpyrun\\fR(1), which has the global options and the exit status"),
            ],
        )
    return found


def write(folder: Path) -> None:
    """Write all pages into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
