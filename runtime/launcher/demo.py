"""`make demo`: run a container from a root file system made on the spot, and show what it sees; leave nothing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEMORY, PIDS = 64 << 20, 32
ROUNDS = 20

# Runs as the container's process 1. Each line that it prints is a name, a tab, and text.
INSIDE = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
field() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
first() { cat "$@" 2>/dev/null | head -n 1; }
say "Its process id" "$$"
say "All processes it sees" "$(ps -o pid,comm | awk 'NR > 1 { printf "%s %s  ", $1, $2 }')"
say "Its host name" "$(hostname)"
say "Its user" "$(id)"
say "Its root directory" "$(ls / | tr '\n' ' ')"
say "Writing there" "$(touch /x 2>&1 || true)"
say "Its devices" "$(ls /dev | tr '\n' ' ')"
awk '{ printf "Its mounts\t%-26s %-8s %s\n", $2, $3, $4 }' /proc/self/mounts | cut -c1-92 | head -n 9
say "Its mounts" "and $(($(wc -l < /proc/self/mounts) - 9)) more"
say "Memory limit" "$(first /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max) bytes"
say "Process limit" "$(first /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max)"
say "Open files" "$(ulimit -n)"
say "Capabilities" "$(field CapEff)"
say "No new privileges" "$(field NoNewPrivs)"
say "/proc/sys" "$(awk '$2 == "/proc/sys" { print $4 }' /proc/self/mounts)"
say "Mounting" "$(mount -t tmpfs none /tmp 2>&1 || true)"
"""


def main(binary: Path) -> int:
    """Show it; returns the exit status."""
    if os.geteuid() != 0:
        print("make demo needs root: it makes namespaces and mounts", file=sys.stderr)
        return 1
    busybox = shutil.which("busybox") or "/bin/busybox"
    with tempfile.TemporaryDirectory(prefix="pyrun-demo-") as folder:
        bundle = Path(folder)
        links = make_rootfs(bundle / "rootfs", busybox)
        print(f"{bold('A bundle made on the spot')}  {bundle}")
        row("rootfs", f"{busybox} and {links} names for it")
        subprocess.run([binary, "spec", "--bundle", bundle], check=True)
        config = json.loads((bundle / "config.json").read_text())
        limits = change(config, ["sh", "-c", INSIDE])
        (bundle / "config.json").write_text(json.dumps(config, indent=2))
        row("config.json", f"by pyrun spec, with the host name demo{limits}")
        command = [str(binary), "run", "--bundle", folder, f"pyrun-demo-{os.getpid()}"]
        print(f"\n{bold('$ pyrun run --bundle ' + folder + ' demo')}")
        begin = time.perf_counter()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=False, stdin=subprocess.DEVNULL
        )
        milliseconds = (time.perf_counter() - begin) * 1000
        show(done.stdout)
        if done.returncode:
            return done.returncode
        print(f"\n{bold('Time')}")
        row("this run", f"{milliseconds:.0f} ms, with all of the above done in the container")
        config["process"]["args"] = ["true"]
        (bundle / "config.json").write_text(json.dumps(config))
        compare(binary, bundle)
    return 0


def make_rootfs(path: Path, busybox: str) -> int:
    """A root file system of one static program; returns how many names it has."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy(busybox, path / "bin/busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (path / "bin" / name).symlink_to("busybox")
    return len(names)


def change(config: dict[str, Any], arguments: list[str]) -> str:
    """Make the default config the demo's; returns which limits it has, in words."""
    config["hostname"] = "demo"
    config["process"].update(terminal=False, args=arguments)
    resources = config["linux"].setdefault("resources", {})
    known = controllers()
    words = []
    if "memory" in known:
        resources["memory"] = {"limit": MEMORY}
        words.append(f"{MEMORY >> 20} MiB of memory")
    if "pids" in known:
        resources["pids"] = {"limit": PIDS}
        words.append(f"{PIDS} processes")
    return "".join(f", {each}" for each in words)


def controllers() -> set[str]:
    """The cgroup controllers that this host has, v1 or v2."""
    found = {
        name
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        for name in line.split(":")[1].split(",")
    }
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    return found | set(unified.read_text().split() if unified.is_file() else ())


def show(output: str) -> None:
    """Print what came from inside as a table."""
    before = ""
    for line in output.splitlines():
        name, tab, text = line.partition("\t")
        if not tab:
            print(line)
            continue
        if name == "Capabilities":
            text = capabilities(int(text, 16))
        row(name if name != before else "", text)
        before = name


def capabilities(bits: int) -> str:
    """The capabilities in a mask of /proc/PID/status, by name."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "spec"))
    from oci_spec.names import CAPABILITIES

    return " ".join(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def compare(binary: Path, bundle: Path) -> None:
    """Print how long `run` of /bin/true takes, beside runc where it is installed."""
    runtimes = {"pyrun": str(binary)}
    if runc := shutil.which("runc"):
        runtimes["runc"] = runc
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    for number in range(ROUNDS):
        for name, path in runtimes.items():
            command = [path, "run", "--bundle", str(bundle), f"pyrun-demo-{os.getpid()}-{number}"]
            begin = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                times[name].append((time.perf_counter() - begin) * 1000)
    medians = {name: statistics.median(each) for name, each in times.items() if each}
    for name, median in medians.items():
        ratio = (
            f"  ({median / medians['runc']:.2f} of runc's)" if name == "pyrun" and "runc" in medians else ""
        )
        row(f"{name} run true", f"{median:.1f} ms, median of {ROUNDS}{ratio}")
    for name in runtimes.keys() - medians.keys():
        row(f"{name} run true", "does not work on this host")
    if "runc" not in runtimes:
        row("runc", "not installed, so nothing to compare with")


def row(name: str, text: str) -> None:
    """One line of a table."""
    print(f"  {name:<24}{text}".rstrip(), flush=True)


def bold(text: str) -> str:
    """A heading, where the terminal can show one."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    print(
        f"{bold('pyrun')} on {platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}\n"
    )
    sys.exit(main(Path(sys.argv[1]).resolve()))
