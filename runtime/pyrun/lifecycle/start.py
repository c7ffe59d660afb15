"""What happens in start: tell stage 2 to go on, learn whether the program was executed, run poststart hooks.

Hot module. Source: runtime.md, Start; config.md, Poststart.
"""

from __future__ import annotations

import posix
import sys

from pyrun import diagnose, jsontext, log, protocol
from pyrun.errors import PyrunError, failed
from pyrun.features import hooks
from pyrun.init import orders
from pyrun.kernel import calls
from pyrun.lifecycle import container as containers
from pyrun.lifecycle.container import Container


def start(container: Container) -> None:
    """Start a created, locked container; PyrunError if its program can't be executed or a hook fails."""
    status = containers.status(container)
    if status != containers.CREATED:
        raise PyrunError(f'container "{container.id}" is {status}, and only a created one can be started')
    if not container.record["hasProcess"]:
        raise PyrunError("not set in config.json, so there is nothing to start", "process")
    try:
        _go(container)
        log.debug("the program is executed")
        state = containers.oci_state(container.record, containers.RUNNING)
        hooks.run_all("poststart", container.record["hooks"].get("poststart") or [], state)
    except PyrunError as error:
        if error.kind == "hook":  # runtime.md, Lifecycle: stop the container, and go on at its last steps
            from pyrun.lifecycle import destroy

            destroy.destroy(container, with_hooks=True)
        raise


def _go(container: Container) -> None:
    """Connect to stage 2; that is the word to start. It says GOING, then fails aloud, or is closed by execve."""
    try:
        connection = calls.connect(f"/proc/self/fd/{container.dirfd}/start.sock")
    except OSError as error:
        raise failed(f'waking the init of container "{container.id}"', error) from None
    going = False
    data = b""
    try:
        while len(data) < protocol.LONGEST and (part := protocol.receive(connection)):
            data += part
    finally:
        posix.close(connection)
    while len(data) >= 16:
        size = 16 + int.from_bytes(data[12:16], sys.byteorder)
        about, fault = orders.understand(data[:size], container.record["hooks"].get("startContainer") or [])
        data = data[size:]
        if fault is not None:
            raise diagnose.explain(fault, container.record["program"], _places(container))
        going = about == orders.GOING
    if not going:
        raise PyrunError(
            f'the init of container "{container.id}" died before it could execute the program',
            hint="or a start that was killed had woken it, which state tells",
        )


def _places(container: Container) -> diagnose.Places:
    mounts = jsontext.decode(container.config).get("mounts") if container.config else None
    return diagnose.Places(container.record["rootfs"], container.record["bundle"], mounts or [])
