"""CVE-2025-52565: the target of /dev/console's bind mount is the image's, and may be a link or be swapped.

The target is opened below the root, as a descriptor, and the terminal is bound as a descriptor too.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import threading

import pytest
from hostile import Outside, mount_points, swapping


@contextlib.contextmanager
def console_socket(path):
    """A socket that takes terminals and closes them at once."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    listener.settimeout(30)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                fds = array.array("i")
                for level, kind, data in connection.recvmsg(64, socket.CMSG_SPACE(4))[1]:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        fds.frombytes(data)
                held.extend(fds)

    held: list[int] = []
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for fd in held:
            os.close(fd)


@pytest.fixture
def outside(tmp_path):
    """A folder that must stay untouched."""
    one = Outside(tmp_path / "outside")
    yield one
    one.assert_untouched()


def with_terminal(bundle, log):
    """A bundle with a terminal, no tmpfs on /dev, and its mounts on record."""
    one = bundle({"process": {"terminal": True}})
    one.config["mounts"] = [
        m for m in one.config["mounts"] if m["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")
    ]
    (one.rootfs / "dev/pts").mkdir()
    return one.hook("createContainer", f"cat /proc/self/mountinfo > {log}")


@pytest.mark.parametrize("target", ["absolute", "relative", "missing", "inside"])
def test_console_is_a_link(pyrun, bundle, outside, tmp_path, target):
    """/dev/console of the image is a link: nothing is bound outside."""
    log = tmp_path / "mountinfo"
    one = with_terminal(bundle, log)
    name = {
        "absolute": str(outside.path / "dev/console"),
        "relative": "../" * 20 + str(outside.path / "dev/console")[1:],
        "missing": str(outside.path / "missing"),
        "inside": "/etc/passwd",
    }[target]
    (one.rootfs / "dev/console").symlink_to(name)
    with console_socket(tmp_path / "socket") as path:
        assert "process.terminal" in pyrun.refused(one, "--console-socket", str(path))


def test_console_is_a_folder(pyrun, bundle, tmp_path):
    """A folder at /dev/console is an error."""
    one = with_terminal(bundle, tmp_path / "mountinfo")
    (one.rootfs / "dev/console").mkdir()
    with console_socket(tmp_path / "socket") as path:
        assert "/dev/console" in pyrun.refused(one, "--console-socket", str(path))


def test_console_is_swapped(pyrun, bundle, outside, tmp_path):
    """/dev/console is now a file and now a link to the host's: the terminal is bound inside or not at all."""
    log = tmp_path / "mountinfo"
    one = with_terminal(bundle, log)
    console, link = one.rootfs / "dev/console", one.rootfs / "dev/link"
    console.write_text("")
    link.symlink_to(str(outside.path / "dev/console"))
    made = 0
    with console_socket(tmp_path / "socket") as path, swapping(console, link):
        for _ in range(40):
            log.unlink(missing_ok=True)
            result = pyrun(
                "create",
                "-b",
                str(one.path),
                "--console-socket",
                str(path),
                container_id := f"h8-{os.getpid()}",
            )
            if result.code == 0:
                made += 1
                points = [
                    each for each in mount_points(log.read_text()) if each.endswith(("/console", "/link"))
                ]
                assert points
                assert all(each.startswith(f"{one.rootfs}/dev/") for each in points)
            pyrun.ok("delete", "--force", container_id)
            outside.assert_untouched()
    assert made


@pytest.mark.parametrize("place", ["link", "folder", "tmpfs"])
def test_pts_is_no_devpts(pyrun, bundle, outside, tmp_path, place):
    """A terminal comes out of the container's own devpts only."""
    one = with_terminal(bundle, tmp_path / "mountinfo")
    one.config["mounts"] = [m for m in one.config["mounts"] if m["destination"] != "/dev/pts"]
    one.write()
    (one.rootfs / "dev/pts").rmdir()
    if place == "link":
        (one.rootfs / "dev/pts").symlink_to(str(outside.path / "dev/pts"))
    else:
        (one.rootfs / "dev/pts").mkdir()
        (one.rootfs / "dev/pts/ptmx").write_text("")
    if place == "tmpfs":
        one.mount("/dev/pts", "tmpfs", "tmpfs")
    with console_socket(tmp_path / "socket") as path:
        assert "/dev/pts" in pyrun.refused(one, "--console-socket", str(path))
