"""SELinux: the program, its keys and the file systems that are made for it have the configuration's labels."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from guest import Bundle, Host

PROGRAM = "system_u:system_r:container_t:s0:c1,c2"
FILES = "system_u:object_r:container_file_t:s0:c1,c2"
# keyctl(KEYCTL_GET_SECURITY, KEY_SPEC_SESSION_KEYRING, …)
KEYS = (
    "import ctypes; b = ctypes.create_string_buffer(200); "
    "ctypes.CDLL(None).syscall(250, 17, -3, b, 200); print(b.value.decode())"
)


@pytest.fixture(autouse=True)
def _enforcing() -> Iterator[None]:
    """The policy is enforced, so that a label which has no effect is noticed."""
    subprocess.run(["setenforce", "1"], check=True)
    yield
    subprocess.run(["setenforce", "0"], check=True)


@pytest.fixture
def bundle(root: Host) -> Iterator[Bundle]:
    with Bundle(root) as one:
        one.config["process"]["selinuxLabel"] = PROGRAM
        one.config["linux"]["mountLabel"] = FILES
        yield one


def test_the_program_has_its_label(bundle: Bundle) -> None:
    """process.selinuxLabel is the program's; a process of exec has the container's, or that of --process-label."""
    other = PROGRAM.replace("c1,c2", "c3")
    bundle.write("cat", "/proc/self/attr/current")
    assert bundle.run().strip("\0\n") == PROGRAM
    bundle.write("sleep", "1000")
    with bundle.running() as name:
        read = ("cat", "/proc/self/attr/current")
        assert bundle.pyrun("exec", name, *read).strip("\0\n") == PROGRAM
        assert bundle.pyrun("exec", "--process-label", other, name, *read).strip("\0\n") == other


def labels(bundle: Bundle, *paths: str) -> list[str]:
    """The labels of files in a container, as the host sees them."""
    bundle.write("sleep", "1000")
    with bundle.running() as name:
        inside = f"/proc/{bundle.state(name)['pid']}/root"
        return [
            line.split()[0]
            for line in bundle.host.ok("ls", "-dZ", *[inside + path for path in paths]).splitlines()
        ]


def test_mounts_have_their_label(bundle: Bundle) -> None:
    """New file systems have linux.mountLabel, and so have what covers a masked folder and a queue."""
    paths = ("/dev", "/dev/mqueue", "/dev/null", "/dev/pts", "/dev/shm", "/sys/firmware")
    assert labels(bundle, *paths) == [FILES] * len(paths)


def test_a_user_namespace_has_labelled_mounts(bundle: Bundle) -> None:
    """With a user namespace, where the kernel takes no label for a mount of queues, these are labelled, too."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"].update(uidMappings=mapping, gidMappings=mapping)
    bundle.host.ok("chown", "-R", "100000:100000", str(bundle.path / "rootfs"))
    paths = ("/dev", "/dev/mqueue", "/dev/pts", "/dev/shm")
    assert labels(bundle, *paths) == [FILES] * len(paths)


def test_the_kernels_own_labels_stay(bundle: Bundle) -> None:
    """procfs and sysfs are labelled by the kernel, file by file."""
    assert [label.split(":")[2] for label in labels(bundle, "/proc", "/sys")] == ["proc_t", "sysfs_t"]


def test_a_context_of_the_configuration_stays(bundle: Bundle) -> None:
    """A mount whose options say `context` themselves keeps that."""
    other = FILES.replace(":c1,c2", "")
    options = ["nosuid", f"context={other}"]
    bundle.config["mounts"].append(
        {"destination": "/own", "type": "tmpfs", "source": "t", "options": options}
    )
    assert labels(bundle, "/own") == [other]


def test_the_program_writes_where_it_may(bundle: Bundle) -> None:
    """The confined program can use what was labelled for it, and not what wasn't."""
    bundle.write("sh", "-c", "echo x >/dev/shm/y && cat /dev/shm/y")
    assert bundle.run() == "x\n"
    bundle.config["linux"]["mountLabel"] = "system_u:object_r:etc_t:s0"
    bundle.write("sh", "-c", "(echo x >/dev/shm/y) 2>/dev/null || echo refused")
    assert bundle.run() == "refused\n"


def test_the_session_keyring_has_the_programs_label(bundle: Bundle) -> None:
    """The keyring that is made for the program has the program's label, so that it can search it."""
    bundle.bind("/usr", "/lib", "/lib64")
    subprocess.run(
        ["setenforce", "0"], check=True
    )  # the policy says nothing of Debian's python in a container
    bundle.write("/usr/bin/python3", "-c", KEYS)
    assert bundle.run() == f"{PROGRAM}\n"


def test_podman_labels_by_itself(root: Host) -> None:
    """podman with its own defaults starts a container; where it sends labels, they are heeded."""
    tar = subprocess.run(["tar", "-C", "/srv/busybox", "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["podman", "import", "-", "bb"], input=tar, capture_output=True, check=True)
    subprocess.run(["setenforce", "0"], check=True)
    label = root.ok("podman", "run", "--rm", "bb", "cat", "/proc/self/attr/current").strip("\0\n")
    info = root.ok("podman", "info", "--format", "{{.Host.Security.SELinuxEnabled}}").strip()
    assert info == "true"
    assert label.split(":")[2] in ("container_t", "initrc_t"), label


def test_an_unknown_label_is_refused(bundle: Bundle) -> None:
    """A label that the policy doesn't know is refused by its property."""
    bundle.config["process"]["selinuxLabel"] = "no:such:label:s0"
    bundle.write("true")
    assert "process.selinuxLabel" in bundle.refused()
    bundle.config["process"]["selinuxLabel"] = PROGRAM
    bundle.config["linux"]["mountLabel"] = "no:such:label:s0"
    bundle.write("true")
    assert "linux.mountLabel: SELinux' policy doesn't know the label 'no:such:label:s0'" in bundle.refused()
