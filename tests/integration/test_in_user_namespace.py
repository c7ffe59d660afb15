"""pyrun as root of a user namespace: below `unshare -Ur`, in an unprivileged container, for rootless engines."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Config, Pyrun, new_id

Make = Callable[..., Bundle]

ONLY_V2 = "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
# Nobody may make a cgroup: in this mount namespace every cgroup file system is read-only.
READ_ONLY = (
    "for each in $(grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5); do "
    "mount --bind $each $each && mount -o remount,bind,ro $each || exit; done"
)


def without_devices(config: Config) -> None:
    """Only what root of a user namespace with one id in it may have: no node is made, no owner but root is named."""
    config["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]},
    ]


def below(pyrun: Pyrun, before: str = "true") -> Pyrun:
    """The runtime as `unshare -Ur` makes it root, in a mount namespace prepared by a script."""
    needs.user_namespaces()
    needs.program("mount", "umount")
    script = f'{before} && exec unshare -Umr "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    return pyrun


@pytest.mark.parametrize("host", ["true", ONLY_V2], ids=["this host", "only cgroup v2"])
def test_a_container_runs(pyrun: Pyrun, bundle: Make, host: str) -> None:
    """Device limits, which can't be set there, are left out; nothing else is."""
    one = bundle(
        {"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}}, change=without_devices
    )
    assert below(pyrun, host).output(one.sh("echo up; cat /proc/self/cgroup")).startswith("up\n")


def with_one_id(config: Config) -> None:
    """`unshare -Ur` maps root alone, so the group of terminals isn't there: no runtime can name it."""
    for mount in config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]


@pytest.mark.parametrize("host", ["true", ONLY_V2], ids=["this host", "only cgroup v2"])
def test_the_default_configuration_runs(pyrun: Pyrun, bundle: Make, host: str) -> None:
    """What `pyrun spec` writes, but for the group of terminals: /dev is filled with the host's devices."""
    one = bundle(
        change=with_one_id, sh="echo up > /dev/null && head -c 3 /dev/zero | wc -c && ls /dev/pts/ptmx"
    )
    assert below(pyrun, host).output(one) == "3\n/dev/pts/ptmx\n"


@pytest.mark.parametrize("host", ["true", ONLY_V2], ids=["this host", "only cgroup v2"])
def test_debug_says_what_is_left_out(pyrun: Pyrun, bundle: Make, host: str) -> None:
    """--debug names the file or the system call that refused device rules."""
    one = bundle(change=without_devices)
    result = below(pyrun, host)("--debug", "run", "--bundle", str(one.path), new_id())
    assert result.code == 0, result
    assert "the device rules are left out" in result.err


def test_devices_are_limited_elsewhere(pyrun: Pyrun, bundle: Make) -> None:
    """In the machine's own user namespace nothing is left out."""
    result = pyrun("--debug", "run", "--bundle", str(bundle().path), new_id())
    assert result.code == 0, result
    assert "left out" not in result.err


@pytest.mark.parametrize(
    "host", [READ_ONLY, f"{ONLY_V2} && {READ_ONLY}"], ids=["this host", "only cgroup v2"]
)
def test_a_life_without_cgroups(pyrun: Pyrun, bundle: Make, host: str) -> None:
    """Where no cgroup can be made and none is asked for, the container stays in its caller's: it starts, takes exec
    and kill, and is deleted; what needs cgroups says so."""
    below(pyrun, host)
    container = pyrun.create(bundle(change=without_devices, sh="exec sleep 1000"))
    own = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if "/dev/" not in line]
    there = Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
    assert container.id not in "".join(there)
    assert len(own) == len(there)
    assert (container.status, container.start(), container.status) == ("created", None, "running")
    for command in ("pause", "ps", "events"):
        assert "no cgroup of its own" in pyrun.error(
            command, *(["--stats"] if command == "events" else []), container.id
        )
    assert "no cgroup of its own" in pyrun.error("update", "--pids-limit", "5", container.id)
    container.kill("KILL")
    container.wait()
    container.delete()
    pyrun.assert_gone(container.id)


@pytest.mark.parametrize(
    "asked",
    [{"cgroupsPath": "/PATH"}, {"resources": {"pids": {"limit": 5}}}],
    ids=["a path", "a limit"],
)
def test_a_cgroup_that_is_asked_for_is_no_option(pyrun: Pyrun, bundle: Make, asked: Config) -> None:
    """A path or a limit in the configuration makes a cgroup that can't be made an error, which leaves nothing."""
    text = json.dumps({"linux": asked}).replace("PATH", new_id())
    one = bundle(json.loads(text), change=without_devices)
    assert "making the cgroup" in below(pyrun, READ_ONLY).refused(one)


def test_a_cgroup_is_no_option_for_root_of_the_machine(pyrun: Pyrun, bundle: Make) -> None:
    """Root of the machine gets the cgroup, or an error that leaves nothing."""
    pyrun.wrapper = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        f'{READ_ONLY} && exec "$@"',
        "sh",
    ]
    assert "making the cgroup" in pyrun.refused(bundle())


@pytest.mark.parametrize(
    ("environment", "inside", "found"),
    [
        ({"USER": "somebody"}, True, True),
        ({}, True, True),
        ({"USER": "root"}, True, False),
        ({"USER": "somebody"}, False, False),
    ],
    ids=["a user's", "nobody's", "root's", "the machine's root"],
)
def test_default_root(
    runtime: Path, tmp_path: Path, environment: dict[str, str], inside: bool, found: bool
) -> None:
    """Root of a user namespace keeps state in $XDG_RUNTIME_DIR, unless $USER is root, as runc's root does there."""
    needs.user_namespaces()
    name = new_id()
    folder = tmp_path / "pyrun" / name
    folder.mkdir(parents=True, mode=0o700)
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), **environment}
    argv = [*(["unshare", "-Ur"] if inside else []), str(runtime), "delete", name]
    assert subprocess.run(argv, env=env, capture_output=True, check=False).returncode == (0 if found else 1)
    assert folder.exists() is not found
