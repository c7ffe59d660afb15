"""Write every page that is made from the sources into a folder: `make docs` does, into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

from pages import cli, conformance, files, habits, manual, properties

PAGES = (cli, conformance, files, habits, properties)


def write(folder: Path) -> None:
    """The pages as NAME.md, and the manual pages below man1/."""
    manual.write(folder / "man1")
    for page in PAGES:
        name = page.__name__.rpartition(".")[2]
        (folder / f"{name}.md").write_text(page.markdown(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
