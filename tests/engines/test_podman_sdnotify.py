"""podman's --sdnotify=container, and with it Quadlet's Notify=true: the container says itself when it is ready."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_conformance.core import probe

from .engine import Engine
from .more import wait_for
from .test_podman import engine  # noqa: F401


@pytest.fixture
def heard(engine: Engine, tmp_path: Path) -> Iterator[list[str]]:  # noqa: F811
    """What podman's own service manager hears; descriptors that come are closed, as a barrier wants it."""
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(tmp_path / "manager")
        manager.bind(path)

        def listen() -> None:
            while "end" not in lines:
                data, descriptors, _, _ = socket.recv_fds(manager, 4096, 8)
                lines.extend(data.decode().splitlines())
                for each in descriptors:
                    os.close(each)

        thread = threading.Thread(target=listen)
        thread.start()
        engine.host.environment["NOTIFY_SOCKET"] = path
        try:
            yield lines
        finally:
            del engine.host.environment["NOTIFY_SOCKET"]
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
                ours.connect(path)
                ours.send(b"end")
            thread.join()


def test_the_container_says_that_it_is_ready(engine: Engine, heard: list[str], tmp_path: Path) -> None:  # noqa: F811
    """`podman run -d --sdnotify=container` returns when the container's program is ready, and the manager knows."""
    program = tmp_path / "probe"
    probe.build(program)
    options = ("--sdnotify", "container", "--volume", f"{program}:/probe:ro")
    name = engine.start(options, "/probe", "notify READY=1", "pause")
    wait_for(lambda: "READY=1" in heard, "the manager hears that it is ready")
    wait_for(lambda: any(line.startswith("MAINPID=") for line in heard), "the manager hears the main process")
    engine.remove(name)
