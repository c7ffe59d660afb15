"""podman with its own defaults, but for the runtime's path: its ties with systemd, and its ways to make cgroups."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import RUNTIME, Host, as_a_service, eventually

POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  containers:
  - name: one
    image: localhost/bb
    imagePullPolicy: Never
    command: [sh, -c, "echo played; sleep 1000"]
    resources: {limits: {memory: 64Mi}}
"""
# A configuration that podman wants for --cgroups=disabled with a runtime whose name it doesn't know.
NO_CGROUPS = '[engine]\nruntime_supports_nocgroup = ["crun", "pyrun"]\n'


def test_kube_play(anyone: Host, image: str, tmp_path: Path) -> None:
    """`podman kube play` makes a pod of a YAML file, with its limits, and takes it away again."""
    name = f"played-{anyone.name}"
    file = Path(f"/tmp/{name}.yaml")
    file.write_text(POD.replace("NAME", name))
    try:
        anyone.ok("podman", "kube", "play", "--network", "none", str(file))
        assert anyone.ok("podman", "logs", f"{name}-one") == "played\n"
        read = ("cat", "/sys/fs/cgroup/memory.max")
        assert anyone.ok("podman", "exec", f"{name}-one", *read) == "67108864\n"
    finally:
        anyone.ok("podman", "kube", "play", "--down", str(file))
        file.unlink()
    assert anyone.ok("podman", "ps", "-a", "-q") == ""


def test_a_healthcheck_runs_by_a_timer(anyone: Host, image: str) -> None:
    """systemd's timer runs the check in the container, by exec, and podman tells what came of it."""
    name = f"health-{anyone.name}"
    check = ("--health-cmd", "echo x >>/tmp/checked", "--health-interval", "1s", "--health-retries", "1")
    anyone.ok("podman", "run", "-d", "--name", name, *check, image, "sleep", "1000")
    try:
        status = ("podman", "inspect", "-f", "{{.State.Health.Status}}", name)
        eventually(lambda: anyone.ok(*status) == "healthy\n", "no check was made")
        eventually(
            lambda: anyone.ok("podman", "exec", name, "grep", "-c", "x", "/tmp/checked") > "1\n", "one"
        )
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)


QUADLET = """
[Container]
Image=localhost/bb
Exec=sleep 1000
Pull=never
Network=none
"""


def test_a_quadlet_unit(anyone: Host, image: str) -> None:
    """A .container file becomes a service that systemd starts and stops."""
    if not list(Path("/usr").glob("lib*/podman/quadlet")):
        pytest.skip("Quadlet came with podman 4.4, and this is an older one")
    folder = Path(
        "/etc/containers/systemd" if anyone.name == "root" else "/home/user/.config/containers/systemd"
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "quad.container"
    file.write_text(QUADLET)
    anyone.chown(Path("/home/user/.config"))
    try:
        anyone.systemctl("daemon-reload")
        anyone.systemctl("start", "quad.service")
        assert anyone.systemctl("is-active", "quad.service") == "active\n"
        assert anyone.ok("podman", "inspect", "-f", "{{.State.Running}}", "systemd-quad") == "true\n"
        anyone.systemctl("stop", "quad.service")
    finally:
        file.unlink()
        anyone.systemctl("daemon-reload")
    assert anyone.ok("podman", "ps", "-a", "-q") == ""


def test_split_cgroups(anyone: Host, image: str) -> None:
    """--cgroups=split, as units with `podman run` in them have it: the container is in a cgroup of that unit."""
    name = f"split-{anyone.name}"
    words = ("podman", "run", "--name", name, "--cgroups=split", image, "sleep", "1000")
    try:
        with as_a_service(anyone, f"{name}.service", *words) as folder:
            inside = eventually(
                lambda: [
                    path for path in folder.glob("libpod-payload-*/**/cgroup.procs") if path.read_text()
                ],
                f"no container in {folder}",
            )
            command = Path(f"/proc/{inside[0].read_text().split()[0]}/cmdline")
            eventually(lambda: command.read_text().startswith("sleep"), "the program doesn't begin")
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)


def test_cgroups_without_conmon(anyone: Host, image: str) -> None:
    """--cgroups=no-conmon: only the container has a cgroup of its own."""
    words = ("podman", "run", "--rm", "--cgroups=no-conmon", image, "cat", "/proc/self/cgroup")
    assert anyone.ok(*words) == "0::/\n"


def test_no_cgroups(anyone: Host, image: str) -> None:
    """--cgroups=disabled: the container stays in its caller's cgroup, with the one more line that podman wants."""
    file = Path("/etc/containers/containers.conf.d/pyrun.conf")
    before = file.read_text()
    file.write_text(before.replace("[engine]", NO_CGROUPS))
    try:
        words = ("podman", "run", "--rm", "--cgroups=disabled", image, "echo", "up")
        assert anyone.ok(*words) == "up\n"
    finally:
        file.write_text(before)
    assert anyone.units("libpod-*.scope") == []


def test_update(anyone: Host, image: str) -> None:
    """`podman update` changes limits while the container runs, and systemd knows them."""
    name = f"update-{anyone.name}"
    container = anyone.ok("podman", "run", "-d", "--name", name, "-m", "64m", image, "sleep", "1000").strip()
    try:
        anyone.ok("podman", "update", "-m", "32m", "--cpus", "0.5", name)
        read = ("sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max")
        assert anyone.ok("podman", "exec", name, *read) == "33554432\n50000 100000\n"
        shown = anyone.systemctl("show", f"libpod-{container}.scope", "-p", "MemoryMax")
        assert shown == "MemoryMax=33554432\n"
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)


def test_a_terminal_with_input(anyone: Host, image: str) -> None:
    """-it takes what is typed, and the program's answer and status come back."""
    words = f"podman run --rm -it {image} sh -c 'read x; echo got \\$x; exit 7'"
    script = f'(sleep 3; echo typed; sleep 3) | script -qec "{words}" /dev/null; exit ${{PIPESTATUS[1]}}'
    done = anyone("bash", "-c", script)
    assert "got typed" in done.stdout, done
    assert done.returncode == 7, done


@pytest.fixture
def ranges() -> Iterator[None]:
    """The user and group `containers`, from whose ranges root's --userns=auto takes."""
    kept = {path: path.read_text() for path in (Path("/etc/subuid"), Path("/etc/subgid"))}
    for path, text in kept.items():
        path.write_text(f"{text}containers:1000000:1000000\n")
    yield
    for path, text in kept.items():
        path.write_text(text)


def test_roots_automatic_user_namespaces(root: Host, ranges: None) -> None:
    """root's --userns=auto gives containers different ranges of users."""
    tar = shutil.which("tar")
    assert tar
    root("sh", "-c", "podman image exists bb || tar -C /srv/busybox -c . | podman import - bb")
    read = ("podman", "run", "--rm", "--userns=auto", "bb", "cat", "/proc/self/uid_map")
    words = root.ok(*read).split()
    assert words[0] == "0"
    assert int(words[1]) >= 1000000


def make_root_of_debian(path: Path) -> None:
    """A root file system with systemd in it: /usr comes as a mount, and /etc has no units but Debian's own."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (path / name).symlink_to(f"usr/{name}")
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "var", "root", "home"):
        (path / name).mkdir()
    (path / "var/log").mkdir()
    for name in ("passwd", "group", "nsswitch.conf", "os-release", "ld.so.cache"):
        shutil.copy(f"/etc/{name}", path / "etc" / name)
    (path / "etc/machine-id").write_text("fedcba9876543210fedcba9876543210\n")
    units = path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "default.target").symlink_to("/usr/lib/systemd/system/basic.target")
    for name in (
        "systemd-tmpfiles-setup",
        "systemd-sysusers",
        "ldconfig",
        "systemd-update-utmp",
        "systemd-journal-catalog-update",
        "systemd-update-done",
        "systemd-random-seed",
    ):
        (units / f"{name}.service").symlink_to("/dev/null")


@pytest.mark.long
def test_systemd_as_process_1(anyone: Host, image: str) -> None:
    """`podman run --systemd=always` gives a container in which systemd runs as process 1 with units of its own."""
    path = Path(f"/var/tmp/debian-{anyone.name}")
    path.mkdir()
    make_root_of_debian(path)
    name = f"systemd-{anyone.name}"
    if anyone.name != "root":
        anyone.chown(path)
    try:
        words = ("--systemd=always", "--network", "none", "-v", "/usr:/usr:ro", "--rootfs", str(path))
        anyone.ok("podman", "run", "-d", "--name", name, *words, "/lib/systemd/systemd")
        ask = ("podman", "exec", name, "systemctl", "is-active", "basic.target")
        eventually(lambda: anyone(*ask).stdout == "active\n", "systemd doesn't come up", 150)
        run = ("systemd-run", "--wait", "--pipe", "-q", "cat", "/proc/self/cgroup")
        assert ".service" in anyone.ok("podman", "exec", name, *run)
        anyone.ok("podman", "stop", "-t", "60", name)
        assert anyone.ok("podman", "inspect", "-f", "{{.State.ExitCode}}", name) in ("0\n", "130\n")
    finally:
        anyone("podman", "rm", "-f", "-t", "0", name)
        shutil.rmtree(path)
    assert RUNTIME.exists()
