"""``python -m tests.bench``: measure pyrun beside runc (and crun), write build/docs/performance.md and .svg."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from .chart import svg
from .measure import Bench, progress, stop_on_signals
from .report import Mode, Report, markdown

REPOSITORY = Path(__file__).resolve().parents[2]
# A pure v2 host on a hybrid one: only this process and its children see it.
V2_HOST = 'umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="runs of each command (60)")
    parser.add_argument("--quick", action="store_true", help="8 runs: to see that the bench works")
    parser.add_argument("--host", action="store_true", help="only with this host's cgroups")
    parser.add_argument("--v2", action="store_true", help="only with cgroup v2, in a private mount namespace")
    built = REPOSITORY / "build/bin/pyrun"
    parser.add_argument(
        "--runtime",
        default=os.environ.get("PYRUN_TEST_RUNTIME", built),
        help="the runtime under test (build/bin/pyrun)",
    )
    parser.add_argument("--runc", default=shutil.which("runc"), help="the runtime to compare with")
    parser.add_argument("--crun", default=shutil.which("crun"), help="another one, where it can run")
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "build/docs", help="where the page is put"
    )
    parser.add_argument("--json", type=Path, help="also write the samples into this file")
    parser.add_argument("--measure", choices=("v1", "v2"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 8
    return options


def is_v2_host() -> bool:
    """Whether this host has nothing but cgroup v2."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def measure(options: argparse.Namespace) -> None:
    """Measure in the mode that this process finds itself in and write the samples."""
    paths = {"pyrun": str(Path(options.runtime).resolve()), "runc": options.runc}
    if options.crun:
        paths["crun"] = options.crun
    stop_on_signals()
    with Bench(
        paths, options.measure == "v2", lambda words: progress(f"{options.measure}: {words}")
    ) as bench:
        bench.check(("pyrun", "runc"))
        options.json.write_text(json.dumps(bench.all(options.rounds)))
    progress("")


def measured_apart(mode: str, options: argparse.Namespace) -> Mode:
    """Measure in a process of its own, for "v2" in a namespace where there is nothing else."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        argv = [
            sys.executable,
            "-m",
            "tests.bench",
            "--measure",
            mode,
            "--json",
            file.name,
            "--rounds",
            str(options.rounds),
            "--runtime",
            str(Path(options.runtime).resolve()),
            "--runc",
            options.runc,
            "--crun",
            options.crun or "",
        ]
        if mode == "v2" and not is_v2_host():
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", V2_HOST, "sh", *argv]
        subprocess.run(argv, check=True, cwd=REPOSITORY)
        return cast(Mode, json.load(file))


def machine() -> dict[str, str]:
    """What the figures depend on besides the runtimes."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return {"processor": f"{model}, {os.cpu_count()} cores", "kernel": platform.release(), "system": system}


def main() -> None:
    """Measure, then write the page and the chart."""
    options = arguments()
    if options.measure:
        measure(options)
        return
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root")
    if not options.runc:
        raise SystemExit("bench: needs runc to compare with (Debian: runc)")
    if not os.access(options.runtime, os.X_OK):
        raise SystemExit(f"bench: {options.runtime} isn't there: run make first")
    both = options.host == options.v2
    modes = (["v1"] if (both or options.host) and not is_v2_host() else []) + (
        ["v2"] if both or options.v2 or is_v2_host() else []
    )
    report: Report = {
        "command": " ".join(["python3 -m tests.bench", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "load": os.getloadavg()[0] / (os.cpu_count() or 1),
        "rounds": options.rounds,
        "tested": "pyrun",
        "modes": {mode: measured_apart(mode, options) for mode in modes},
    }
    if options.json:
        options.json.write_text(json.dumps(report))
    options.output.mkdir(exist_ok=True)
    (options.output / "performance.md").write_text(markdown(report))
    (options.output / "performance.svg").write_text(svg(report))
    print(f"bench: wrote {options.output}/performance.md and performance.svg")


if __name__ == "__main__":
    main()
