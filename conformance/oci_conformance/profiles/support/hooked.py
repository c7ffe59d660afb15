"""Containers whose hooks and program write down that they ran, in one file, and what they saw, each in its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from oci_conformance.core import probe
from oci_conformance.core.bundle import Changes, Json
from oci_conformance.core.container import POLL, Container
from oci_conformance.core.runtime import Call
from oci_conformance.run.case import Case
from oci_spec.types import Hook

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
PROGRAM = "program"  # the name of what the container's program writes
HELD = 8.0  # seconds that a hook waits at most to be let go: less than a call of the runtime may take


class Hooked:
    """A container with hooks. Each is the probe, which writes its name and then does its commands.

    The file with the names is `log`, in the root file system. Echoes go there too: more names.
    """

    def __init__(self, t: Case) -> None:
        self.t = t
        self.folder = t.folder / f"hooked{len(t.containers)}"
        self.rootfs = self.folder / "rootfs"
        self.log = self.rootfs / "log"  # for hooks in the container it is /log
        self.hooks: dict[str, list[Hook]] = {}
        self._container: Container | None = None

    @property
    def container(self) -> Container:
        """What `prepare` made."""
        assert self._container is not None
        return self._container

    def add(
        self,
        kind: str,
        name: str,
        *commands: str,
        before: tuple[str, ...] = (),
        held: bool = False,
        env: list[str] | None = None,
        timeout: int | None = None,
    ) -> Hook:
        """One more hook. `before` is done before the name is written. A held one waits at its end; see `during`."""
        inside = kind == "startContainer"
        root = "" if inside else str(self.rootfs)
        if held:
            commands += (f"echo {name} waits", f"await {root}/go {HELD:g}", f"echo {name} ended")
        hook = self.t.hook(
            *before,
            *_writing(f"{root}/log", name, commands),
            path="/probe" if inside else None,
            env=env,
            timeout=timeout,
        )
        self.hooks.setdefault(kind, []).append(hook)
        return hook

    def prepare(self, changes: Changes | None = None, *commands: str) -> Container:
        """The container, of which nothing exists yet. `commands` are its program's."""
        wanted = dict(changes or {})
        wanted["hooks"] = self.hooks
        said = _writing("/log", PROGRAM, commands)
        self._container = self.t.prepare(wanted, *said, files={"/log": ""}, folder=self.folder)
        return self._container

    def run(self, changes: Changes | None = None, *commands: str) -> Container:
        """Prepare it, and take it from its creation to its deletion. Raises Refused."""
        container = self.prepare(changes, *commands)
        container.create()
        container.start()
        container.wait()
        container.delete()
        return container

    def names(self) -> list[str]:
        """The names that were written, in order."""
        return [
            str(answer["result"])
            for answer in probe.parse(self.log.read_bytes())
            if _echoes(answer["command"])
        ]

    def answers(self, name: str) -> Json:
        """What the hook or the program of a name saw, by command (None: it failed); nothing if it never ran."""
        try:
            text = (self.rootfs / f"log.{name}").read_bytes()
        except OSError:
            return {}
        return {answer["command"]: answer.get("result") for answer in probe.parse(text)}

    def wrote(self, name: str, seconds: float = 0.0) -> bool:
        """Is this name written, within some time?"""
        until = time.monotonic() + seconds
        while name not in self.names():
            if time.monotonic() > until:
                return False
            time.sleep(POLL)
        return True

    def during(self, operation: str, name: str, look: Callable[[], None] | None = None) -> Call:
        """An operation; while the held hook `name` waits in it, `look` is called, if it comes to that."""
        calls: list[Call] = []
        thread = threading.Thread(target=lambda: calls.append(self.container.call(operation)))
        thread.start()
        try:
            while thread.is_alive() and not self.wrote(f"{name} waits"):
                time.sleep(POLL)
            if look is not None and thread.is_alive():
                look()
        finally:
            if self.wrote(f"{name} waits"):
                (self.rootfs / "go").touch()
            thread.join()
        return calls[0]


def _writing(log: str, name: str, commands: tuple[str, ...]) -> list[str]:
    """The probe's commands, with those before them that say where answers go: names and the rest never mix."""
    found, last = [], ""
    for command in (f"echo {name}", *commands):
        place = log if _echoes(command) else f"{log}.{name}"
        found += [command] if place == last else [f"to {place}", command]
        last = place
    return found


def _echoes(command: str) -> bool:
    return command.startswith("echo ")
