"""`python -m tests.stress`: containers by the hundred while the runtime is killed at random, then the same undisturbed
beside runc. Fails when anything was lost or left. It stops by itself, and cleans up also when it is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests")]

from bench.__main__ import V2_HOST, is_v2_host, machine  # noqa: E402
from bench.measure import stop_on_signals  # noqa: E402

from .load import Load, Result  # noqa: E402
from .report import markdown  # noqa: E402

MOST_TOLD = 20  # of failures, and of things left
MEMORY_CONTAINERS = 50  # created and running at once for the figures of memory


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--containers", type=int, default=1000, help="through their life cycle (1000)")
    parser.add_argument("--workers", type=int, default=8, help="at once (8)")
    parser.add_argument("--alive", type=int, default=300, help="containers that run at once (300)")
    parser.add_argument(
        "--seconds", type=float, default=600, help="for each load, then no more are made (600)"
    )
    parser.add_argument(
        "--kills", type=float, default=0.15, help="share of the commands that are killed (0.15)"
    )
    parser.add_argument(
        "--seed", type=int, default=time.time_ns(), help="of what is random (another each time)"
    )
    parser.add_argument(
        "--v2", action="store_true", help="with cgroup v2 alone, in a private mount namespace"
    )
    parser.add_argument("--no-figures", action="store_true", help="only the load with kills")
    built = os.environ.get("PYRUN_TEST_RUNTIME", REPOSITORY / "build/bin/pyrun")
    parser.add_argument("--runtime", default=built, help="the runtime under test (build/bin/pyrun)")
    parser.add_argument("--runc", default=shutil.which("runc"), help="the runtime to compare with")
    parser.add_argument("--output", type=Path, help="folder where load.md is written")
    parser.add_argument("--json", type=Path, help="write all results into this file")
    return parser.parse_args()


def loaded(runtime: str, options: argparse.Namespace, kills: float) -> Result:
    """One load on one runtime, with its memory figures when nothing is killed."""
    say(f"{runtime}: {options.containers} containers, {options.workers} workers, {options.alive} alive")
    with Load(runtime, options.v2 or is_v2_host()) as load:
        result = load.run(
            options.containers, options.workers, options.alive, options.seconds, kills, options.seed
        )
        if not kills:
            result.memory = load.memory(MEMORY_CONTAINERS)
    say(
        f"  {result.made} in {result.seconds:.1f} s, {result.most_alive} alive at once, {result.commands} commands, "
        f"{sum(result.kills.values())} killed, {len(result.failures)} failed, {len(result.left)} left"
    )
    for words in (*result.failures[:MOST_TOLD], *result.left[:MOST_TOLD]):
        say(f"    {words}")
    return result


def say(words: str) -> None:
    """One line of progress."""
    print(words, flush=True)


def others() -> float:
    """The share of this machine's processor time that others take, in a few seconds (proc_stat(5))."""
    before = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
    time.sleep(3)
    after = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
    spent = [new - old for new, old in zip(after, before, strict=True)]
    return 1 - (spent[3] + spent[4]) / sum(spent)  # idle, waiting for a disk


def main() -> int:
    """Load, then figures; the exit status says whether all is well."""
    options = arguments()
    if os.geteuid() != 0:
        raise SystemExit("stress: needs root")
    runtime = str(Path(options.runtime).resolve())
    if not os.access(runtime, os.X_OK):
        raise SystemExit(f"stress: {runtime} isn't there: run make first")
    if options.v2 and not is_v2_host():
        again = [sys.executable, "-m", "tests.stress", *sys.argv[1:]]
        os.chdir(REPOSITORY)
        os.execvp(
            "unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", V2_HOST, "sh", *again]
        )
    stop_on_signals()
    busy = 0.0 if options.no_figures else others()
    say(f"seed {options.seed}")
    killed = loaded(runtime, options, options.kills)
    if options.json:
        options.json.write_text(json.dumps({"killed": asdict(killed)}))
    if not options.no_figures:
        paths = {"pyrun": runtime, **({"runc": options.runc} if options.runc else {})}
        results = {name: loaded(path, options, 0) for name, path in paths.items()}
        words = [f"--{name} {getattr(options, name)}" for name in ("containers", "workers", "alive", "kills")]
        report = {
            "command": " ".join(["python3 -m tests.stress", *words]),
            "date": time.strftime("%Y-%m-%d"),
            "machine": ", ".join(machine().values()),
            "load": busy,
            "workers": options.workers,
            "killed": asdict(killed),
            "figures": {name: asdict(result) for name, result in results.items()},
        }
        if options.json:
            options.json.write_text(json.dumps(report))
        page = markdown(report)
        if options.output:
            (options.output / "load.md").write_text(page)
            say(f"stress: wrote {options.output}/load.md")
        else:
            say(page)
    return 1 if killed.failures or killed.left else 0


if __name__ == "__main__":
    raise SystemExit(main())
