"""The page files.md: every source file, and what it says of itself in its first paragraph."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("runtime", "spec", "conformance")
SUFFIXES = (".py", ".c", ".h", ".sh")
HEAD = """# Every source file

<!-- Made by docs/pages/files.py from the files' own first words: change those. -->

[architecture.md](../../docs/architecture.md) says how they work together.
"""
# Which interpreter a module is for is a rule with a test (CONTRIBUTING.md), and no role.
HEAT = re.compile(r"\s*(Hot|Cold) module[^.]*\.")


def sources() -> list[Path]:
    """Every source file that says something, folder by folder."""
    found = (path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*"))
    return sorted(
        (path for path in found if path.suffix in SUFFIXES and path.stat().st_size),
        key=lambda path: (path.parent, path.name),
    )


def role(path: Path) -> str:
    """The first paragraph of a module's docstring, or of the comment that a file begins with; "" without one."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        words = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix == ".sh":
        words = "\n".join(re.match(r"(?:#!.*\n)?((?:# ?.*\n)*)", text)[1].splitlines()).replace("# ", "")
    else:
        comment = re.match(r"\s*/\*(.*?)\*/", text, re.DOTALL)
        words = re.sub(r"^ ?\* ?", "", comment[1], flags=re.MULTILINE) if comment else ""
    paragraph = re.split(r"\n\s*\n", words.strip())[0]
    return HEAT.sub("", " ".join(paragraph.split())).strip()


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    folder = None
    for path in sources():
        if path.parent != folder:
            folder = path.parent
            parts.append(f"\n## {folder.relative_to(REPOSITORY)}/\n\n| file | role |\n|---|---|\n")
        parts.append(f"| `{path.name}` | {role(path).replace('|', chr(92) + '|')} |\n")
    return "".join(parts)
