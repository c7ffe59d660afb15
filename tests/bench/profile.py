"""``python -m tests.bench.profile``: where each command's time goes, for pyrun and any peers, as a table of text.

For each command and runtime, with the processes that it starts: the time that passed, user and system time, and page
faults, medians of undisturbed runs; and system calls, of one more run under strace, with those that took longest. It
makes each call slower, so that the milliseconds say which are long, and not how long. Of create, these are the calls of
the first process alone, as strace would stay with the container's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .__main__ import V2_HOST, is_v2_host
from .measure import Bench, Runtime, stop_on_signals

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST = 6  # calls that are named


class Calls(NamedTuple):
    """System calls of one command: how many, and the seconds of each name, the longest first."""

    count: int
    seconds: dict[str, float]


def parse_summary(text: str) -> Calls:
    """The table that `strace -c` prints: "% time, seconds, usecs/call, calls, errors (or none), syscall"."""
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if len(row) in (5, 6) and row[0][:1].isdigit() and row[-1] != "total"]
    seconds = {row[-1]: float(row[1]) for row in sorted(rows, key=lambda row: -float(row[1]))}
    return Calls(sum(int(row[3]) for row in rows), seconds)


class Traced(Runtime):
    """A runtime whose calls strace watches, with all processes that it starts, but for create's."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.name, runtime.path, runtime.root)
        self.calls = Calls(0, {})

    def call(self, command: str, *arguments: str, wrapper: Sequence[str] = ()) -> float:
        """The seconds that it took with strace; RuntimeError as without it."""
        summary = self.root.parent / "strace"
        watch = ["strace", "-c", "-w", "-o", str(summary), *(["-f"] if command != "create" else [])]
        seconds = super().call(
            command, *arguments, wrapper=[str(shutil.which(watch[0])), *watch[1:], *wrapper]
        )
        self.calls = parse_summary(summary.read_text())
        return seconds


class Account(NamedTuple):
    """What one command costs: milliseconds, and the number of page faults."""

    passed: float
    user: float
    system: float
    faults: float


def table(title: str, rows: dict[str, Account], calls: dict[str, Calls]) -> str:
    """A command's lines: one for each runtime, and below it the calls that took longest."""
    lines = [f"{title:12}{'ms':>10}{'user':>8}{'system':>8}{'faults':>8}{'calls':>8}"]
    for name, row in rows.items():
        count = str(calls[name].count) if name in calls else "-"
        lines.append(
            f"  {name:10}{row.passed:10.2f}{row.user:8.2f}{row.system:8.2f}{row.faults:8.0f}{count:>8}"
        )
        if name in calls:
            longest = list(calls[name].seconds.items())[:LONGEST]
            lines.append(" " * 12 + ", ".join(f"{call} {seconds * 1e3:.2f}" for call, seconds in longest))
    return "\n".join(lines)


def measure(paths: dict[str, str], v2: bool, rounds: int) -> str:
    """All tables, with the cgroups that this process sees; the first runtime must work."""
    accounts: dict[str, dict[str, list[Account]]] = {}
    calls: dict[str, dict[str, Calls]] = {}
    with Bench(paths, v2, lambda _: None) as bench:
        bench.check(tuple(paths)[:1])
        for runtime in [each for each in bench.runtimes for _ in range(rounds)]:

            def note(command: str, name: str, seconds: float, one: Runtime = runtime) -> None:
                account = Account(seconds * 1e3, one.user * 1e3, (one.cpu - one.user) * 1e3, one.faults)
                accounts.setdefault(command, {}).setdefault(name, []).append(account)

            bench.one_of_each(runtime, note)
        for runtime in bench.runtimes if shutil.which("strace") else ():
            traced = Traced(runtime)

            def note_calls(command: str, name: str, _: float, one: Traced = traced) -> None:
                calls.setdefault(command, {})[name] = one.calls

            bench.one_of_each(traced, note_calls)
    tables = []
    for command, row in accounts.items():
        medians = {
            name: Account(*map(statistics.median, zip(*each, strict=True))) for name, each in row.items()
        }
        tables.append(table(command, medians, calls.get(command, {})))
    return "\n\n".join(tables)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each command (10)")
    parser.add_argument(
        "--v2", action="store_true", help="with cgroup v2 alone, in a private mount namespace"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("peers", nargs="*", metavar="NAME=PATH", help="other runtimes")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    if os.geteuid() != 0:
        raise SystemExit("profile: needs root")
    if options.v2 and not options.inside and not is_v2_host():
        again = [sys.executable, "-m", "tests.bench.profile", "--inside", *sys.argv[1:]]
        os.chdir(REPOSITORY)
        os.execvp(
            "unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", V2_HOST, "sh", *again]
        )
    stop_on_signals()
    paths = {
        "pyrun": str(REPOSITORY / "build/bin/pyrun"),
        **dict(each.split("=", 1) for each in options.peers),
    }
    print(measure(paths, options.v2 or is_v2_host(), options.rounds))


if __name__ == "__main__":
    main()
