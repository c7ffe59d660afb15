"""The bench's results as Markdown: pure functions from plain data (see `Report`) to text."""

from __future__ import annotations

import itertools
import statistics
import textwrap
from collections.abc import Sequence
from typing import TypedDict


class Mode(TypedDict):
    """Results under one kind of cgroups.  Names of runtimes are keys of the innermost dictionaries."""

    runtimes: dict[str, str]  # version, the tested runtime first
    refusals: dict[str, str]  # why a runtime that is installed was left out
    times: dict[str, dict[str, list[float]]]  # row -> seconds of each round
    cpu: dict[str, dict[str, list[float]]]  # the same, user and system time
    peak_rss: dict[str, dict[str, int]]  # row -> KiB
    created_pss: dict[str, int]  # KiB
    growth: dict[str, dict[str, dict[str, float]]]  # command -> containers -> median seconds
    mounts: dict[str, dict[str, float]]  # mounts -> median seconds of create


class Report(TypedDict):
    """All that the page says."""

    command: str
    date: str
    machine: dict[str, str]
    load: float  # processes that wanted a processor in the minute before, for each processor
    rounds: int
    tested: str  # the runtime under test, by its name
    modes: dict[str, Mode]  # "v1", "v2"


class Target(TypedDict):
    """What is asked of one row: largest ratios to runc's median, and to crun's."""

    row: str
    title: str
    wanted: float | None
    stretch: float | None
    crun: float | None


METHOD = """\
Each time is the median of {rounds} runs. The runtimes take turns, in the opposite order each time. A run
is measured from the spawning of the runtime to its end, with stdin, stdout and stderr at /dev/null or a
file; what cleans up after it isn't measured. Configurations: what `pyrun spec` prints, without a
terminal, and an *engine-like* one with 350 names of system calls, 64 mounts, limits and device rules
(with its seccomp program in the cache). Peak RSS is what the kernel charges to the command (`ru_maxrss`);
PSS is that of all processes of a container that is created and not started. Memory is in units of 1024
bytes.
"""


def _target(row: str, title: str, wanted: float | None, stretch: float | None, crun: float | None) -> Target:
    return {"row": row, "title": title, "wanted": wanted, "stretch": stretch, "crun": crun}


TARGETS = (
    _target("run", "run", 0.40, 0.30, 1.5),
    _target("engine", "run, engine-like config", 0.40, 0.30, 1.5),
    _target("create", "create", 0.40, 0.30, 1.5),
    _target("start", "start", 0.75, 0.60, 1.8),
    _target("exec", "exec", 0.35, 0.25, 1.5),
    _target("state", "state", 0.75, 0.60, 1.8),
    _target("kill", "kill", 0.75, 0.60, 1.8),
    _target("delete", "delete", 0.75, 0.60, 1.8),
    _target("list", "list (one container)", None, None, None),
)
RSS_WANTED, RSS_STRETCH = 0.8, 0.6  # of runc's
PSS_WANTED, PSS_STRETCH = 300, 150  # KiB
QUIET = 0.3  # processes for each processor; above that the bench has had company
BUSY = "**The machine was busy with something else: don't trust these figures.**\n"
MODE_TITLES = {"v1": "cgroup v1, as this host has it", "v2": "cgroup v2 only"}


def ms(seconds: float) -> str:
    """Milliseconds with three figures."""
    value = seconds * 1000
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def size(kib: float) -> str:
    """A size that is given in KiB."""
    return f"{kib / 1024:.1f} MB" if kib >= 1024 else f"{kib:.0f} KB"


def verdict(value: float, wanted: float | None, stretch: float | None) -> str:
    """Which of the two limits a value keeps."""
    if wanted is None or stretch is None:
        return ""
    if value <= stretch:
        return "stretch reached"
    return "reached" if value <= wanted else "**missed**"


def limits(wanted: float | None, stretch: float | None) -> str:
    """The two limits as a cell."""
    return "" if wanted is None else f"≤ {wanted:.2f} / {stretch:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def medians(samples: dict[str, list[float]]) -> dict[str, float]:
    """The median of each runtime's samples."""
    return {name: statistics.median(values) for name, values in samples.items()}


def ratio_table(mode: Mode, tested: str) -> str:
    """Medians beside the targets."""
    crun = "crun" in mode["runtimes"]
    header = ["", tested, "runc", "ratio", "wanted / stretch", ""]
    header += ["crun", "ratio to crun", "stretch"] if crun else []
    rows = []
    for target in TARGETS:
        seconds = medians(mode["times"][target["row"]])
        ratio = seconds[tested] / seconds["runc"]
        row = [
            target["title"],
            ms(seconds[tested]),
            ms(seconds["runc"]),
            f"**{ratio:.2f}**",
            limits(target["wanted"], target["stretch"]),
            verdict(ratio, target["wanted"], target["stretch"]),
        ]
        if crun:
            limit = target["crun"]
            row += [
                ms(seconds["crun"]),
                f"{seconds[tested] / seconds['crun']:.2f}",
                "" if limit is None else f"≤ {limit:.1f}",
            ]
        rows.append(row)
    if mode["peak_rss"]:
        peaks = {name: max(column[name] for column in mode["peak_rss"].values()) for name in mode["runtimes"]}
        ratio = peaks[tested] / peaks["runc"]
        row = [
            "peak RSS of any command",
            size(peaks[tested]),
            size(peaks["runc"]),
            f"**{ratio:.2f}**",
            limits(RSS_WANTED, RSS_STRETCH),
            verdict(ratio, RSS_WANTED, RSS_STRETCH),
        ]
        rows.append(row + ([size(peaks["crun"]), f"{peaks[tested] / peaks['crun']:.2f}", ""] if crun else []))
    held = mode["created_pss"]
    row = [
        "a created container holds (PSS)",
        size(held[tested]),
        size(held["runc"]),
        f"{held[tested] / held['runc']:.3f}",
        f"≤ {PSS_WANTED} KB / {PSS_STRETCH} KB",
        verdict(held[tested], PSS_WANTED, PSS_STRETCH),
    ]
    rows.append(row + ([size(held["crun"]), f"{held[tested] / held['crun']:.2f}", "≤ 1.0"] if crun else []))
    return table(header, rows)


def spread_table(mode: Mode) -> str:
    """How far the samples of each row lie apart."""
    names = list(mode["runtimes"])
    rows = []
    for target in TARGETS:
        row = [target["title"]]
        for name in names:
            samples = mode["times"][target["row"]][name]
            row.append(" · ".join(ms(value) for value in (min(samples), *statistics.quantiles(samples, n=4))))
        rows.append(row)
    return table(["lowest · quartile · median · quartile", *names], rows)


def cpu_table(mode: Mode, tested: str) -> str:
    """What each command takes of a processor: less dependent on what else the machine does."""
    names = list(mode["runtimes"])
    rows = []
    for target in TARGETS:
        seconds = medians(mode["cpu"][target["row"]])
        ratio = seconds[tested] / seconds["runc"]
        rows.append([target["title"], *(ms(seconds[name]) for name in names), f"{ratio:.2f}"])
    return table(["user and system time, median", *names, "ratio"], rows)


def memory_table(mode: Mode) -> str:
    """Peak RSS of each command."""
    names = list(mode["runtimes"])
    if not mode["peak_rss"]:
        return "Not measured: it needs a C compiler.\n"
    rows = [
        [target["title"], *(size(mode["peak_rss"][target["row"]][name]) for name in names)]
        for target in TARGETS
        if target["row"] in mode["peak_rss"]
    ]
    return table(["peak RSS", *names], rows)


def slope(points: dict[str, dict[str, float]], name: str, first: str, last: str) -> float:
    """Seconds for each one more, between two measured sizes."""
    return (points[last][name] - points[first][name]) / (int(last) - int(first))


def growth_table(points: dict[str, dict[str, float]], names: Sequence[str], what: str) -> str:
    """Medians by size, and the slope between each two neighbouring sizes."""
    sizes = sorted(points, key=int)
    steps = list(itertools.pairwise(sizes))
    header = [what, *sizes, *(f"slope {first} to {last}" for first, last in steps)]
    rows = [
        [
            name,
            *(ms(points[count][name]) for count in sizes),
            *(f"{slope(points, name, first, last) * 1e6:.1f} µs" for first, last in steps),
        ]
        for name in names
    ]
    return table(header, rows)


def refusal(name: str, reason: str) -> str:
    """Why a runtime that is installed has no figures here."""
    hint = (
        " It raises this limit in order to load its device program; this machine forbids that (no "
        "CAP_SYS_RESOURCE)."
        if "MEMLOCK" in reason
        else ""
    )
    return textwrap.fill(f"{name} was left out, it doesn't run here. {reason}.{hint}", 110) + "\n"


def mode_section(title: str, mode: Mode, tested: str) -> str:
    """Everything that was measured under one kind of cgroups."""
    names = list(mode["runtimes"])
    parts = [f"## {title}\n", ratio_table(mode, tested)]
    parts += [refusal(name, reason) for name, reason in sorted(mode["refusals"].items())]
    parts += [
        "### Spread\n",
        spread_table(mode),
        cpu_table(mode, tested),
        "### Memory\n",
        memory_table(mode),
        "### Growth with the number of containers under one root\n",
        *(growth_table(points, names, command) for command, points in mode["growth"].items() if points),
        "### Growth with the number of mounts\n",
        growth_table(mode["mounts"], names, "create"),
    ]
    return "\n".join(parts)


def markdown(report: Report) -> str:
    """The whole page performance.md."""
    tested = report["tested"]
    facts = dict(report["machine"])
    for mode in report["modes"].values():
        facts.update(mode["runtimes"])
    facts["load before"] = f"{report['load']:.1f} for each processor"
    facts.update({"date": report["date"], "command": f"`{report['command']}`"})
    parts = [
        "# Performance\n",
        "Written by `make bench`; don't edit.\n",
        "![Medians of each command](performance.svg)\n",
        table(["", ""], list(facts.items())),
        METHOD.format(rounds=report["rounds"]),
        *([BUSY] if report["load"] > QUIET else []),
    ]
    parts += [mode_section(MODE_TITLES[name], mode, tested) for name, mode in report["modes"].items()]
    return "\n".join(parts)
