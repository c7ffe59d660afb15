"""load.md from the results of loads: pure functions from plain data to text."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

Times = Sequence[Sequence[float]]

QUIET = 0.2  # of processor time for others
COMMANDS = ("create", "start", "state", "exec", "ps", "list", "events", "kill", "delete")

HEAD = """# Under load

<!-- Made by `python3 -m tests.stress`: don't change it by hand. -->

{workers} workers at once take containers through their life cycle, each in its own order: create, state, start, two of
list, state, exec, ps and events --stats on those that are alive, kill, delete. The bundle has a seccomp profile and
limits as an engine sends them.

    {command}

{date}, {machine}.
{busy}
"""


def markdown(report: dict[str, Any]) -> str:
    """The page. `report` has command, date, machine, load, workers, killed (a Result or None), and figures: runtime's
    name -> Result, pyrun's first, as dictionaries."""
    busy = (
        "The machine had nothing else to do."
        if report["load"] < QUIET
        else f"Other programs kept it busy ({report['load']:.0%} of its processor time before): look at ratios."
    )
    parts = [HEAD.format(**{**report, "busy": busy})]
    if report["killed"]:
        parts.append(killed(report["killed"]))
    parts.append(figures(report["figures"], report["load"] < QUIET))
    return "".join(parts)


def killed(result: dict[str, Any]) -> str:
    """What came of it when the runtime was killed at random."""
    kills = ", ".join(
        f"{command} {result['kills'][command]}" for command in COMMANDS if command in result["kills"]
    )
    return f"""
## Killed at random

{result["made"]} containers, {result["most_alive"]} alive at once, {result["commands"]} commands, of which the runtime
was ended by SIGKILL at a random instant {sum(result["kills"].values())} times:
{kills}.

| afterwards | |
|---|---:|
| commands that failed, or told something wrong | {len(result["failures"])} |
| cgroups, mounts, processes, descriptors, files, BPF programs, keyrings left | {len(result["left"])} |
"""


def figures(results: dict[str, dict[str, Any]], quiet: bool) -> str:
    """Nothing killed: how fast, how much, beside each other."""
    names = list(results)
    rows = [
        ("containers per second", [f"{each['made'] / each['seconds']:.1f}" for each in results.values()]),
        ("containers", [str(each["made"]) for each in results.values()]),
        ("alive at once", [str(each["most_alive"]) for each in results.values()]),
        ("commands that failed", [failed(each["failures"]) for each in results.values()]),
        ("things left", [str(len(each["left"])) for each in results.values()]),
    ]
    for state in ("created", "running"):
        kinds = {state: "its processes", f"{state}, machine": "the whole machine"}
        for key in list(kinds)[: 2 if quiet else 1]:  # what others do is as large as this
            sizes = [mib(each["memory"][key]) for each in results.values()]
            rows.append((f"memory of a {state} container, {kinds[key]}", sizes))
    text = "\n## Beside runc\n\nNothing is killed here.\n\n" + table(["", *names], rows)
    text += (
        "\nMedian milliseconds of a command while all workers are busy: when a worker has few containers alive\n"
        "(the lowest quarter), and when it has its full number.\n\n"
    )
    heads = ["", *[f"{name}, {when}" for name in names for when in ("few", "many")]]
    lines = []
    for command in COMMANDS:
        cells = []
        for each in results.values():
            few, many = growth(each["times"].get(command, []))
            cells += [few, many]
        lines.append((command, cells))
    return text + table(heads, lines)


def failed(failures: Sequence[str]) -> str:
    """How many failures, and of which commands."""
    counts = Counter(words.partition(" ")[0] for words in failures)
    names = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return f"{len(failures)} ({names})" if names else "0"


def growth(times: Times) -> tuple[str, str]:
    """Median milliseconds with few and with many alive."""
    most = max((alive for alive, _ in times), default=0)
    few = [seconds for alive, seconds in times if alive <= most / 4]
    many = [seconds for alive, seconds in times if alive >= most * 0.9]
    return tuple(f"{statistics.median(each) * 1000:.1f}" if each else "" for each in (few, many))  # type: ignore[return-value]


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join([*lines, *[f"| {name} | {' | '.join(cells)} |" for name, cells in rows], ""])


def mib(size: float) -> str:
    """Bytes as MiB."""
    return f"{size / (1 << 20):.2f} MiB"
