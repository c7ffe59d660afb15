"""Slurm runs containers by the lines of oci.conf: here one controller and three nodes, all on this machine."""

from __future__ import annotations

import os
import platform
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import Bundle

from .engine import write_wrapper
from .private_host import Done, PrivateHost, cgroup_mounts, need, remove_cgroups, wait_until

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/slurm/oci.conf"
INSTALLED = "/usr/local/bin/pyrun"  # the path that the file under contrib/ names
PREFIX = f"pyrun-slurm-{os.getpid()}-"  # containers are named after nodes, and their cgroups after containers
NODES = tuple(f"{PREFIX}{number}" for number in range(3))
ADDRESS = "10.78.0.1"  # Slurm looks for addresses as if there was no loopback device (AI_ADDRCONFIG)
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort=17001
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/controller
SlurmdSpoolDir=/var/lib/slurm/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd-%n.pid
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
KillWait=2
ReturnToService=2
{nodes}
PartitionName=all Nodes={names} Default=YES State=UP OverSubscribe=FORCE:4
"""


class Slurm:
    """A cluster on its private host, with a network of its own so that the ports are free."""

    def __init__(self, host: PrivateHost, runtime_log: Path) -> None:
        self.host = host
        self.runtime_log = runtime_log

    def call(self, *argv: str, stdin: bytes = b"") -> Done:
        """Run one of Slurm's programs."""
        return self.host.run(*argv, stdin=stdin)

    def output(self, *argv: str) -> str:
        """Standard output of a program that has to succeed."""
        done = self.call(*argv)
        assert done.returncode == 0, f"{' '.join(argv)} failed with {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def containers(self) -> list[str]:
        """The names of the containers that there are, by the runtime's own root folder."""
        root = self.host.path("/run/pyrun-slurm")
        return sorted(path.name for path in root.glob("*") if path.name != ".seccomp")

    def wait_for_containers(self, count: int, timeout: float = 20.0) -> list[str]:
        """Wait until there are so many."""
        deadline = time.monotonic() + timeout
        while len(found := self.containers()) != count:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


def start(folder: Path, host: PrivateHost, name: str, *argv: str) -> None:
    """Start one of the daemons; its log is under `folder`."""
    host.start_daemon(*argv, log=folder / f"{name}.log")


# How Slurm finds a step's processes: all that descend from it, containers too; or its process group, in which `run`
# is and the container's program isn't (nor is it with proctrack/cgroup, which wants a host with systemd).
@pytest.fixture(scope="module", params=["linuxproc", "pgid"])
def slurm(
    request: pytest.FixtureRequest, tested_runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Slurm]:
    """Controller, three nodes and munge, with contrib's oci.conf, in which only the runtime's path is changed."""
    need("slurmctld", "slurmd", "srun", "sbatch", "scancel", "munged", "ip")
    folder = tmp_path_factory.mktemp("slurm")
    wrapper, log = write_wrapper(folder, tested_runtime)
    hostname = platform.node().partition(".")[0]
    nodes = [
        f"NodeName={name} NodeHostname={hostname} NodeAddr={ADDRESS} Port={17010 + number} CPUs=4"
        for number, name in enumerate(NODES)
    ]
    (folder / "slurm.conf").write_text(
        SLURM_CONF.format(
            host=hostname,
            address=ADDRESS,
            nodes="\n".join(nodes),
            names=",".join(NODES),
            proctrack=request.param,
        )
    )
    (folder / "oci.conf").write_text(CONFIGURATION.read_text().replace(INSTALLED, str(wrapper)))
    host = PrivateHost(f"pyrun-test-slurm-{os.getpid()}", network=True)
    try:
        for command in (
            "link add slurm0 type veth peer name slurm1",
            f"address add {ADDRESS}/24 dev slurm0",
            "link set slurm0 up",
            "link set slurm1 up",
        ):
            host.run("ip", *command.split())
        host.path("/run/munge").mkdir(mode=0o755)
        key = host.path("/run/munge/key")
        key.write_bytes(os.urandom(128))
        key.chmod(stat.S_IRUSR)
        own = (
            "--key-file",
            "/run/munge/key",
            "--log-file",
            "/run/munge/log",
            "--seed-file",
            "/run/munge/seed",
        )
        start(folder, host, "munged", "munged", "--foreground", "--force", *own)
        host.environment["SLURM_CONF"] = configuration = str(folder / "slurm.conf")
        wait_until(("sh", "-c", "munge -n | unmunge"), host)
        host.path("/var/lib/slurm/controller").mkdir(parents=True)
        start(folder, host, "slurmctld", "slurmctld", "-D", "-f", configuration)
        for name in NODES:
            start(folder, host, name, "slurmd", "-D", "-N", name, "-f", configuration)
        ready = f'[ "$(sinfo --noheader --Node --format=%t | grep -c idle)" = {len(NODES)} ]'
        try:
            wait_until(("sh", "-c", ready), host)
        except pytest.fail.Exception:
            logs = [(folder / f"{name}.log").read_text()[-1000:] for name in ("slurmctld", *NODES)]
            pytest.fail("\n".join(["the nodes didn't become idle:", *logs]))
        yield Slurm(host, log)
    finally:
        host.close()
        for name in cgroups():
            remove_cgroups(name)


def cgroups() -> set[str]:
    """The names of the cgroups of this cluster's containers."""
    return {path.name for mount in cgroup_mounts() for path in mount.glob(f"{PREFIX}*")}


@pytest.fixture
def files(bundle: Callable[..., Bundle], slurm: Slurm) -> Path:
    """A bundle that every node runs containers of: read-only root, at most 20 processes."""
    made = bundle(
        {"root": {"readonly": True}, "hostname": "inside", "linux": {"resources": {"pids": {"limit": 20}}}}
    )
    # Slurm 24 looks a program up where srun is called, and asks for it by the path that it has there
    (made.rootfs / "usr/bin").symlink_to("../bin")
    made.path.chmod(0o755)
    return made.path


def test_three_nodes(slurm: Slurm, files: Path) -> None:
    """One container on each node, with the bundle's properties; the tested runtime ran them."""
    slurm.runtime_log.write_text("")
    script = "echo $(hostname) $$ $(touch /file 2>&1 | tail -c 22)"
    output = slurm.output("srun", "-N3", "--label", "--container", str(files), "sh", "-c", script)
    assert sorted(output.splitlines()) == [f"{task}: inside 1 Read-only file system" for task in range(3)]
    calls = slurm.runtime_log.read_text()
    for name in NODES:
        assert re.search(
            rf"run --pipes --bundle /var/lib/slurm/{name}/\S+ {name}\.root\.\d+\.\d+\.0$", calls, re.MULTILINE
        )


@pytest.mark.parametrize("status", [0, 1, 42])
def test_exit_status(slurm: Slurm, files: Path, status: int) -> None:
    done = slurm.call("srun", "-N1", "--container", str(files), "sh", "-c", f"exit {status}")
    assert done.returncode == status, done.stderr


def test_a_missing_program_is_named(slurm: Slurm, files: Path) -> None:
    """By the runtime, with its reason: srun itself only repeats its command line."""
    done = slurm.call("srun", "-N1", "--container", str(files), "not-there")
    assert done.returncode != 0
    assert '"not-there": executable file not found in $PATH' in done.stderr


def test_streams(slurm: Slurm, files: Path) -> None:
    argv = ("srun", "-N1", "--container", str(files), "sh", "-c", "tr a-z A-Z; echo problem >&2")
    done = slurm.call(*argv, stdin=b"hello\n")
    assert done.stdout == "HELLO\n"
    assert "problem" in done.stderr


def test_limits_of_the_bundle(slurm: Slurm, files: Path) -> None:
    script = "for n in $(seq 9); do sleep 0.1 & done; wait; echo fine; for n in $(seq 30); do sleep 1 & done"
    done = slurm.call("srun", "-N1", "--container", str(files), "sh", "-c", script)
    assert done.stdout == "fine\n", done.stderr
    assert "can't fork" in done.stderr


def test_batch(slurm: Slurm, files: Path, tmp_path: Path) -> None:
    """A batch script that starts containers on all nodes, one after the other."""
    script, output = tmp_path / "script", tmp_path / "output"
    step = f"srun --label --container {files} sh -c 'hostname'"
    script.write_text(f"#!/bin/sh\n{step}\n{step}\n")
    slurm.output("sbatch", "--wait", "-N3", f"--output={output}", str(script))
    # On a busy machine srun tells that it had to wait for the step: "srun: Step created …".
    lines = [line for line in output.read_text().splitlines() if not line.startswith("srun: ")]
    assert sorted(lines) == sorted(2 * [f"{task}: inside" for task in range(3)])


def test_batch_script_in_a_container(slurm: Slurm, files: Path, tmp_path: Path) -> None:
    """``sbatch --container``: the script itself runs inside."""
    script, output = tmp_path / "script", tmp_path / "output"
    script.write_text("#!/bin/sh\nhostname\nexit 3\n")
    done = slurm.call("sbatch", "--wait", "-N1", f"--output={output}", f"--container={files}", str(script))
    assert done.returncode == 3, done.stderr
    # The second line is slurmstepd's complaint that the query's answer, an error message, isn't JSON.
    assert output.read_text().splitlines()[0] == "inside"


@pytest.mark.parametrize(
    ("trap", "obeys"),
    [("trap 'echo bye; exit 3' TERM", True), ("trap '' TERM", False)],
    ids=["obeys", "ignores"],
)
def test_cancel(slurm: Slurm, files: Path, trap: str, obeys: bool) -> None:
    """scancel ends the containers on all nodes: by SIGTERM, and after KillWait by SIGKILL."""
    version = slurm.output("srun", "--version")
    if not obeys and version.split()[-1] >= "23":
        pytest.skip(
            f"needs Slurm 22.05: {version} asks for the state of task -1, and then ends no container itself"
        )
    program = f"{trap}; echo started; while :; do sleep 0.1; done"
    argv = (
        "srun",
        "-N3",
        "--unbuffered",
        "--job-name=cancelled",
        "--container",
        str(files),
        "sh",
        "-c",
        program,
    )
    with subprocess.Popen(
        slurm.host.command(*argv),
        env=slurm.host.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as srun:
        assert srun.stdout is not None
        try:
            assert [srun.stdout.readline() for _ in NODES] == [b"started\n"] * 3
            assert {name.partition(".")[0] for name in slurm.containers()} == set(NODES)
            slurm.output("scancel", "--name=cancelled")
            output = srun.communicate(timeout=20)[0]
        finally:
            srun.kill()
    # More than once each, maybe: Slurm signals both ``run``, which passes it on, and the program.
    assert output.count(b"bye") >= 3 if obeys else output == b""
    slurm.wait_for_containers(0)
    assert slurm.host.run("pgrep", "-f", "trap").stdout == ""


def test_nothing_is_left(slurm: Slurm, files: Path) -> None:
    """After a job there is no state of the runtime, no mount and no cgroup."""
    mounts = slurm.host.run("cat", "/proc/self/mountinfo").stdout
    slurm.output("srun", "-N3", "--container", str(files), "true")
    slurm.wait_for_containers(0)
    assert slurm.host.run("cat", "/proc/self/mountinfo").stdout == mounts
    assert cgroups() == set()
