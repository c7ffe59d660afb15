"""The page cli.md, from the command table."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pyrun.commandline.help import ABOUT, DETAILS
from pyrun.commandline.table import COMMANDS, GLOBAL, HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.commandline.parse import Option

HEAD = f"""# The command line

<!-- Made by docs/pages/cli.py from runtime/pyrun/commandline/table.py and commandline/help.py: change those. -->

{ABOUT}

    pyrun [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]

Options with a value take it as the next word or after `=`. Global options stand before the command, a command's own
anywhere after it; after `--` there are only arguments. Given twice, the last one counts.

Every error is one sentence on standard error, and in the file of `--log` its last record: `{{"level": "error", "msg":
…, "time": …}}` with `--log-format json`. Exit status: 0; 1 for any error, wrong usage included; that of the
program with `run` and `exec` (128 + n if signal n ended it).

## Global options
"""

MORE = {
    "validate": """
With `--format json`, a list of objects is printed, empty if all is well. All values are strings:

| key | value |
|---|---|
| `severity` | `error` or `warning` |
| `source` | who says so: `specification`, `pyrun` (refused by name), `host` (missing here) |
| `path` | the JSON path, such as `process.rlimits[2].type`; empty for the whole file |
| `found` | what stands there, in a few words; empty for a warning |
| `wanted` | what should stand there, or why it can't be had |
| `section` | where runtime-spec says so, such as `config-linux.md#memory`; empty for a warning |
""",
    "features": """
The document is described in runtime-spec's features.md and features-linux.md. The architectures are those that the
installed libseccomp knows; nothing else in it depends on the host.
""",
}


def options(table: Iterable[Option]) -> str:
    """A Markdown table of options; "" if there are none."""
    rows = []
    for names, _, metavar, text in table:
        flags = ", ".join(f"`{name}`" for name in names)
        value = f" `{metavar}`".replace("|", "\\|") if metavar else ""
        rows.append(f"| {flags}{value} | {text} |\n")
    return "\n| option | meaning |\n|---|---|\n" + "".join(rows) if rows else ""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD, options(GLOBAL)]
    for name, (arguments, table, text, _) in COMMANDS.items():
        if name in HIDDEN:
            continue
        usage = " ".join(["pyrun", name, *["[OPTIONS]"] * bool(table), *arguments])
        prose = f"{text[0].upper()}{text[1:]}. {DETAILS.get(name, '')}"
        parts.append(f"\n## {name}\n\n    {usage}\n\n{textwrap.fill(prose, 115, break_on_hyphens=False)}\n")
        parts += [options(table), MORE.get(name, "")]
    return "".join(parts)
