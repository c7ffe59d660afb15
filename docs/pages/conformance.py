"""The page conformance.md, from the catalogue and the suite."""

from __future__ import annotations

from oci_conformance.run import registry, requirements
from oci_spec.catalogue import Requirement

HEAD = """# The catalogue of requirements

<!-- Made by docs/pages/conformance.py from spec/oci_spec/requirements and conformance/: change those. -->

What the [conformance suite](../../conformance/README.md) holds a runtime to: every requirement of runtime-spec 1.0.2 to
1.3.0 for Linux, in our own words, with the tests that show it, or the reason why a black box can't. The words of the
specification are what counts; each table's head leads there. `oci-conformance explain ID` shows one.
"""


def markdown() -> str:
    """The whole page."""
    shown: dict[str, list[str]] = {}
    for test in registry.tests().values():
        for each in test.ids:
            shown.setdefault(each, []).append(f"`{test.name}`")
    sections: dict[str, list[Requirement]] = {}
    for requirement in requirements.every().values():
        sections.setdefault(requirement.section, []).append(requirement)
    parts = [HEAD]
    for section, rows in sorted(
        sections.items(), key=lambda item: (item[0] in requirements.PROFILES, item[0])
    ):
        text = "requirement" if section in requirements.PROFILES else f"[requirement]({rows[0].url})"
        head = f"| id | level | since | {text} | shown by |\n|---|---|---|---|---|\n"
        parts.append(f"\n## {section}\n\n{head}")
        for row in rows:
            versions = f"{row.since} to before {row.until}" if row.until else row.since
            tests = ", ".join(shown.get(row.id, [])) or f"*{row.unseen}*"
            parts.append(f"| `{row.id}` | {row.level} | {versions} | {row.text} | {tests} |\n")
    return "".join(parts)
