"""podman with its own defaults, but for the runtime's path: systemd cgroups, AppArmor where it is root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guest import Host, eventually


def test_defaults(anyone: Host, image: str) -> None:
    """`podman run IMAGE COMMAND` needs no option."""
    assert anyone.ok("podman", "run", "--rm", image, "echo", "hello") == "hello\n"


def test_limits(anyone: Host, image: str) -> None:
    """Limits are in force inside, and are properties of the unit."""
    script = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max; sleep 1000"
    limits = ["-m", "64m", "--pids-limit", "50", "--cpus", "0.5"]
    name = f"limits-{anyone.name}"
    container = anyone.ok("podman", "run", "-d", "--name", name, *limits, image, "sh", "-c", script).strip()
    try:
        eventually(lambda: anyone.ok("podman", "logs", name).count("\n") == 3, "no output")
        assert anyone.ok("podman", "logs", name).split() == ["67108864", "50", "50000", "100000"]
        shown = anyone.systemctl(
            "show", f"libpod-{container}.scope", "-p", "MemoryMax,TasksMax,Delegate,Slice"
        )
        assert "MemoryMax=67108864" in shown
        assert "TasksMax=50" in shown
        assert "Delegate=yes" in shown
        anyone.systemctl("daemon-reload")
        assert anyone.ok("podman", "exec", name, "cat", "/sys/fs/cgroup/memory.max") == "67108864\n"
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)
    eventually(lambda: anyone.units("libpod-*.scope") == [], "units are left")


def test_a_life(anyone: Host, image: str) -> None:
    """exec, pause, stats, update, stop and rm work, and no unit is left."""
    name = f"life-{anyone.name}"
    anyone.ok("podman", "run", "-d", "--name", name, image, "sleep", "1000")
    try:
        assert anyone.ok("podman", "exec", name, "id", "-u") == "0\n"
        assert anyone.ok("podman", "exec", "-u", "1000", name, "sh", "-c", "echo x >/dev/stdout") == "x\n"
        anyone.ok("podman", "pause", name)
        assert anyone.ok("podman", "inspect", "-f", "{{.State.Status}}", name) == "paused\n"
        anyone.ok("podman", "unpause", name)
        assert name in anyone.ok("podman", "stats", "--no-stream", "--format", "{{.Name}} {{.PIDS}}", name)
        assert "sleep" in anyone.ok("podman", "top", name, "args")
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)
    eventually(lambda: anyone.units("libpod-*.scope") == [], "units are left")


def test_a_terminal(anyone: Host, image: str) -> None:
    """`podman run -t` has a terminal of its own."""
    assert anyone.ok("podman", "run", "--rm", "-t", image, "tty").strip() == "/dev/pts/0"


def test_network_none_has_lo(anyone: Host, image: str) -> None:
    """With --network none there is a loopback device that is up."""
    assert "LOOPBACK,UP" in anyone.ok("podman", "run", "--rm", "--network", "none", image, "ip", "addr")


def test_a_pod(anyone: Host, image: str) -> None:
    """Containers of a pod share their namespaces, and go together."""
    pod = f"pod-{anyone.name}"
    made = anyone("podman", "pod", "create", "--infra=false", "--name", pod)
    assert made.returncode == 0, made
    anyone.ok(
        "podman", "run", "-d", "--pod", pod, "--name", f"{pod}-1", "--network", "none", image, "sleep", "1000"
    )
    assert f"{pod}-1" in anyone.ok("podman", "ps", "--format", "{{.Names}}")
    anyone.ok("podman", "pod", "rm", "-f", "-t", "0", pod)
    assert anyone.ok("podman", "ps", "-a", "-q") == ""


def test_a_unit_of_systemd(anyone: Host, image: str) -> None:
    """`podman generate systemd` makes a unit that systemd starts and stops."""
    name = f"unit-{anyone.name}"
    anyone.ok("podman", "create", "--name", name, image, "sleep", "1000")
    text = anyone.ok("podman", "generate", "systemd", "--name", name)
    folder = Path("/run/systemd/system") if anyone.name == "root" else Path("/run/user/1000/systemd/user")
    folder.mkdir(parents=True, exist_ok=True)
    unit = folder / f"{name}.service"
    unit.write_text(text)
    anyone.systemctl("daemon-reload")
    try:
        anyone.systemctl("start", f"{name}.service")
        assert anyone.ok("podman", "inspect", "-f", "{{.State.Running}}", name) == "true\n", anyone.systemctl(
            "status", f"{name}.service"
        )
        anyone.systemctl("stop", f"{name}.service")
        assert anyone.ok("podman", "inspect", "-f", "{{.State.Running}}", name) == "false\n"
    finally:
        unit.unlink()
        anyone.systemctl("daemon-reload")
        anyone.ok("podman", "rm", "-f", "-t", "0", name)


def test_privileged(anyone: Host, image: str) -> None:
    """--privileged has the host's devices, as far as the user has them."""
    assert (
        anyone.ok("podman", "run", "--rm", "--privileged", image, "sh", "-c", "echo x >/dev/null; echo ok")
        == "ok\n"
    )


@pytest.mark.parametrize(
    "option", ["--userns=keep-id", "--userns=auto", "--read-only", "--init", "--tmpfs=/t"]
)
def test_options(anyone: Host, image: str, option: str) -> None:
    """Options that change the configuration much."""
    if option == "--userns=auto" and anyone.name == "root":
        pytest.skip("root's --userns=auto wants ranges of a user named containers in /etc/subuid")
    if option == "--userns=keep-id" and anyone.name == "root":
        pytest.skip("keep-id is for ordinary users")
    if option == "--init" and not Path("/usr/libexec/podman/catatonit").exists():
        pytest.skip("catatonit isn't installed")
    assert anyone.ok("podman", "run", "--rm", option, image, "echo", "hello") == "hello\n"


def test_a_program_that_is_missing(anyone: Host, image: str) -> None:
    """The exit status is 127, and nothing is left."""
    done = anyone("podman", "run", "--rm", image, "nothing")
    assert done.returncode == 127, done
    assert "executable file not found" in done.stderr
    assert anyone.ok("podman", "ps", "-a", "-q") == ""
    eventually(lambda: anyone.units("libpod-*.scope") == [], "units are left")


def test_podman_knows_the_runtime(anyone: Host) -> None:
    """`podman info` names the runtime and its version."""
    info = json.loads(anyone.ok("podman", "info", "--format", "json"))
    assert info["host"]["ociRuntime"]["name"] == "pyrun"
    assert info["host"]["cgroupManager"] == "systemd"
