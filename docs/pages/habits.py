"""The page habits.md, from the records of the profile `habits` and what pyrun is known not to do."""

from __future__ import annotations

from oci_conformance.run import expectations, requirements
from oci_conformance.run import habits as records

WEIGHTS = {
    "A": "An engine breaks without it, or its users notice at once",
    "B": "Some users rely on it",
    "C": "Few do",
}
HEAD = """# Habits: what runtimes do that no text asks for

<!-- Made by docs/pages/habits.py from conformance/oci_conformance/profiles/habits: change that. -->

Engines and images rely on much that the specification doesn't have, because runc has always done it. Each line below is
a test of the [conformance suite's](../../conformance/README.md) profile `habits`, which never counts in the score:

    oci-conformance run --runtime PATH --profile habits --level should

The last column names the runtimes that have it, of runc 1.5, crun 1.27 and pyrun; on some hosts an older one differs.
`oci-conformance explain ID` shows one.
"""


def markdown() -> str:
    """The whole page."""
    lacking = {each.id for each in expectations.load("pyrun", requirements.every()) if not each.cgroups}
    parts = [HEAD]
    for weight, meaning in WEIGHTS.items():
        parts.append(
            f"\n## {weight}: {meaning.lower()}\n\n| habit | who relies on it | who has it |\n|---|---|---|\n"
        )
        for each in records.load().values():
            if each.weight == weight:
                having = ", ".join([*each.peers, *["pyrun"] * (each.id not in lacking)])
                parts.append(f"| `{each.id}`: {each.text} | {each.who} | {having} |\n")
    return "".join(parts)
