"""A Slurm node, as Debian ships it, with its own units, and contrib's oci.conf."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import CONTRIB, Bundle, Host, eventually

CONFIGURATION = """
ClusterName=test
SlurmctldHost=vm(10.78.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/controller
SlurmdSpoolDir=/var/lib/slurm/node
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
KillWait=2
NodeName=vm NodeAddr=10.78.0.1 CPUs=2
PartitionName=all Nodes=vm Default=YES State=UP
"""
NETWORK = """
modprobe veth
ip link add slurm0 type veth peer name slurm1
ip address add 10.78.0.1/24 dev slurm0
ip link set slurm0 up
ip link set slurm1 up
"""
UNITS = ("slurmd", "slurmctld", "munge")


@pytest.fixture(scope="module", autouse=True)
def _slurm(root: Host) -> Iterator[None]:
    """The controller and the node. Slurm looks for addresses as if there was no loopback device."""
    root.ok("sh", "-ec", NETWORK)
    folder = Path("/etc/slurm")
    folder.mkdir(exist_ok=True)
    (folder / "slurm.conf").write_text(CONFIGURATION)
    shutil.copy(CONTRIB / "slurm/oci.conf", folder)
    Path("/var/lib/slurm/controller").mkdir(parents=True, exist_ok=True)
    try:
        root.ok("systemctl", "start", *reversed(UNITS))
        eventually(
            lambda: root("sinfo", "--noheader", "--format=%t").stdout.strip() == "idle",
            "the node doesn't become idle: " + root("systemctl", "status", *UNITS).stdout,
            120,
        )
        yield
    finally:
        root("systemctl", "stop", *UNITS)
        root("ip", "link", "delete", "slurm0")


@pytest.fixture
def bundle(root: Host) -> Iterator[Bundle]:
    with Bundle(root) as one:
        (one.path / "rootfs/usr").mkdir()
        (one.path / "rootfs/usr/bin").symlink_to("../bin")
        one.config["hostname"] = "inside"
        one.write("true")
        yield one


def left(root: Host) -> list[str]:
    return [path.name for path in Path("/run/pyrun-slurm").glob("*") if path.name[0] != "."]


def test_a_step(root: Host, bundle: Bundle) -> None:
    """`srun --container` runs the command in a container, with its streams and its status; nothing is left."""
    words = ("srun", "--container", str(bundle.path), "sh", "-c", "hostname; exit 7")
    done = root(*words)
    assert "inside\n" in done.stdout, done
    assert done.returncode == 7, done
    assert left(root) == []


def test_scancel(root: Host, bundle: Bundle) -> None:
    """`scancel` ends a container that ignores SIGTERM, and the node is idle again."""
    script = f"#!/bin/sh\nsrun --container {bundle.path} sh -c 'trap : TERM; while :; do sleep 1; done'\n"
    job = root("sh", "-c", 'printf %s "$0" | sbatch --parsable --output=/dev/null', script).stdout.strip()
    eventually(lambda: left(root), "no container")
    root.ok("scancel", job)
    eventually(lambda: left(root) == [], "the container is left", 90)
    idle = ("sinfo", "--noheader", "--format=%t")
    eventually(lambda: root(*idle).stdout.strip() == "idle", "the node isn't idle", 120)
