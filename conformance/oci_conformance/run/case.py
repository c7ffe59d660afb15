"""What a test function is given: ways to run containers, and ways to give verdicts on requirements."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Unpack

from oci_conformance.core import bundle, cgroup, kernel
from oci_conformance.core.bundle import DELETE, Changes, Json
from oci_conformance.core.container import Broken, Container, Refused, prepare
from oci_conformance.core.host import Host
from oci_conformance.core.records import Result, Status, Words
from oci_conformance.core.runtime import NOT_EXECUTED, Runtime
from oci_conformance.run.registry import Test
from oci_spec.types import Config, Hook

__all__ = ["DELETE", "Broken", "Case", "Container", "Refused", "Seen", "Skip"]


class Skip(Exception):
    """The rest of a test can't be done on this host; the text names what is missing."""


class Seen:
    """What a container's probe said, after its end."""

    def __init__(self, container: Container) -> None:
        self.exit_code = container.exit_code
        self.signal = container.signal
        self.stdout = container.stdout
        self.stderr = container.stderr
        self.answers = container.results()

    def answer(self, command: str) -> Json:
        """The whole answer to the first command that is `command` or begins with that word."""
        for answer in self.answers:
            if "ready" in answer:  # said before the answer itself
                continue
            if answer["command"] == command or answer["command"].split(" ")[0] == command:
                return answer
        raise Broken(
            f"the probe gave no answer to {command!r}; "
            f"exit code {self.exit_code}, signal {self.signal}, standard error {self.stderr[-300:]!r}"
        )

    def __getitem__(self, command: str) -> Any:
        """The result of a command. Raises Broken if it failed."""
        answer = self.answer(command)
        if "result" not in answer:
            raise Broken(f"the probe's {command!r} failed: {answer.get('errno', answer)}")
        return answer["result"]

    def error(self, command: str) -> str | None:
        """The name of the errno with which a command failed, or None."""
        name = self.answer(command).get("errno")
        return None if name is None else str(name)


class Case:
    """One test being run."""

    def __init__(
        self,
        test: Test,
        runtime: Runtime,
        host: Host,
        folder: Path,
        spec: str,
        bundle_version: str,
        program: Path,
        watch: Callable[[Case, Result], None] | None = None,
    ) -> None:
        self.test = test
        self.runtime = runtime
        self.host = host
        self.spec = spec  # the version of the specification that is tested against
        self.folder = folder  # of this test alone; gone after it
        self.program = program  # the probe on the host
        self.verdicts: dict[str, Result] = {}
        self.containers: list[Container] = []
        self.suspect: Container | None = None  # the last one before the first failure
        self._bundle_version = bundle_version
        self._watch = watch  # told of each verdict, while everything is in place

    # containers

    @property
    def cgroups(self) -> str:
        """The name of the cgroup, at the top of each hierarchy, below which this test's containers are."""
        return f"oci-conformance-{os.getpid()}"

    def base(self, id: str) -> Config:
        """The configuration that is changed by `changes`."""
        path = f"system.slice:oci-conformance:{id}" if self.host.systemd_cgroup else f"/{self.cgroups}/{id}"
        return bundle.base(self._bundle_version, self.host.uid, self.host.gid, path)

    def prepare(
        self,
        changes: Changes | None = None,
        *commands: str,
        files: Mapping[str, str | bytes] | None = None,
        raw: bytes | None = None,
        id: str | None = None,
        folder: Path | None = None,
        apart: bool = False,
    ) -> Container:
        """A bundle whose probe does `commands`, and the container to make of it; nothing is called.

        `files` are put into its root file system. `raw` takes the place of the whole config.json. A container that is
        `apart` has a state folder of its own, so that nothing which the runtime keeps there serves another one.
        """
        name = id or f"oc-{os.getpid()}-{len(self.containers)}"
        config: Any = self.base(name)
        config["process"]["args"] = ["/probe", *commands]
        bundle.apply(config, changes or {})
        process = config.get("process")
        container = prepare(
            self._apart() if apart else self.runtime,
            name,
            folder or self.folder / str(len(self.containers)),
            raw if raw is not None else config,
            self.program,
            serve=commands[-1:] == ("serve",),
            terminal=isinstance(process, dict) and process.get("terminal") is True,
        )
        self.containers.append(container)
        for path, content in (files or {}).items():
            place = container.rootfs / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        return container

    def _apart(self) -> Runtime:
        """The runtime with another state folder. Its calls are kept with the others."""
        root = self.folder / f"root{len(self.containers)}"
        root.mkdir()
        return replace(self.runtime, root=root)

    def create(
        self, changes: Changes | None = None, *commands: str, files: Mapping[str, str | bytes] | None = None
    ) -> Container:
        """A created container whose program will be the probe doing `commands`. Raises Refused."""
        container = self.prepare(changes, *commands, files=files)
        container.create()
        return container

    def serve(
        self, changes: Changes | None = None, files: Mapping[str, str | bytes] | None = None
    ) -> Container:
        """A running container whose probe can be asked."""
        container = self.create(changes, "serve", files=files)
        container.start()
        return container

    def run(
        self, changes: Changes | None = None, *commands: str, files: Mapping[str, str | bytes] | None = None
    ) -> Seen:
        """Create and start a container, wait for its end, delete it, and return what the probe said."""
        container = self.create(changes, *commands, files=files)
        container.start()
        container.wait()
        container.delete()
        return Seen(container)

    def hook(
        self,
        *commands: str,
        path: str | None = None,
        env: list[str] | None = None,
        timeout: int | None = None,
    ) -> Hook:
        """A hook that is the probe doing `commands`. `path` is that of the host unless given.

        It reads the state from its standard input first, whatever it then does: a runtime that writes to a hook which
        is gone already may be killed by SIGPIPE, and that would depend on the moment.
        """
        if not {"stdin", "state", "drain"}.intersection(commands):
            commands = ("drain", *commands)
        hook: Hook = {"path": path or str(self.program), "args": ["probe", *commands]}
        if env is not None:
            hook["env"] = env
        if timeout is not None:
            hook["timeout"] = timeout
        return hook

    @cached_property
    def features(self) -> Json | None:
        """What the runtime's `features` says, or None if it has no such command."""
        return self.runtime.features()

    # verdicts

    def check(
        self, id: str, ok: bool, expected: str, seen: object, *, about: Container | None = None
    ) -> bool:
        """A verdict: `ok` or not, what was expected in words, what was seen. The first failure of an id stays.

        `about` is the container that the evidence is of, if it isn't the last one.
        """
        assert id in self.test.ids, f"{self.test.name} gives a verdict on {id}, which it doesn't name"
        if not ok:
            self.suspect = self.suspect or about
            self._verdict(id, "fail", expected=expected, seen=_text(seen))
        elif id not in self.verdicts:
            self._verdict(id, "pass")
        return ok

    def equal(self, id: str, seen: object, expected: object) -> bool:
        """A verdict: is what was seen what was expected?"""
        return self.check(id, seen == expected and type(seen) is type(expected), _text(expected), seen)

    def unsupported(self, id: str, reason: str) -> None:
        """A verdict: the runtime says, where the specification lets it, that it doesn't have this."""
        self._verdict(id, "unsupported", reason=reason)

    def skip(self, reason: str) -> NoReturn:
        """End the test: what is left of it can't be done on this host. Name what is missing."""
        raise Skip(reason)

    def refused(self, id: str, base: Changes, fault: Changes, *, at: str = "create", why: str = "") -> bool:
        """A verdict: a bundle with `base` runs, the same bundle with `fault` is refused and leaves no container.

        `at="start"` accepts a refusal by start as well. Where the control is refused too, nothing can be said of the
        fault: that is `unsupported`.
        """
        expected = why or "an error, and no container"
        if said := self.control(base):
            self._verdict(id, "unsupported", reason=f"without the fault, too: {said}")
            return False
        both: dict[Any, Any] = {**base, **fault}
        container = self.prepare(both)
        return self.is_refused(id, container, at=at, expected=expected)

    def control(self, changes: Changes | None = None) -> str:
        """Why a container that is right can't be had; nothing if it runs. It shares no state folder with another."""
        container = self.prepare(changes, apart=True)
        try:
            container.create()
            container.start()
            container.wait()
            container.delete()
        except (Refused, Broken) as error:
            return str(error)
        return ""

    def is_refused(
        self,
        id: str,
        container: Container,
        *,
        at: str = "create",
        expected: str = "an error, and no container",
    ) -> bool:
        """A verdict: a prepared container is refused by create (or, if `at` is "start", by start at the latest).

        What a refusal leaves behind is another requirement's affair: errors.no-side-effects.
        """
        call = container.call("create")
        if call.ok and at == "start":
            call = container.call("start")
        return self.check(
            id,
            not call.ok and call.code > NOT_EXECUTED,
            expected,
            f"{call.operation} succeeded" if call.ok else call.sentence,
        )

    # the end of a test; the runner's affair

    def _verdict(self, id: str, status: Status, **words: Unpack[Words]) -> None:
        before = self.verdicts.get(id)
        if before is None or before["status"] != "fail":
            self.verdicts[id] = {"id": id, "status": status, **words}
            if status in ("fail", "error") and self.suspect is None and self.containers:
                self.suspect = self.containers[-1]
            if self._watch is not None:
                self._watch(self, self.verdicts[id])

    def settle(self, error: BaseException | None) -> list[Result]:
        """Verdicts for all ids of the test, after it returned or raised `error`.

        A container that can't be had is a failure of what only it could show. It is none of a neighbour's: where
        several ids are left, or the container was the plainest one, nothing can be said of them.
        """
        left = [id for id in self.test.ids if id not in self.verdicts]
        if error is not None and not isinstance(error, Skip) and not left:
            # what passed so far may not have been looked at in full
            left = [id for id, verdict in self.verdicts.items() if verdict["status"] == "pass"]
        for id in left:
            if isinstance(error, Skip):
                self._verdict(id, "skip", reason=str(error))
            elif isinstance(error, Refused) and self.test.may_refuse and not self._plain(error):
                self._verdict(id, "unsupported", reason=str(error))
            elif isinstance(error, Refused | Broken):
                self._stopped(id, error, alone=len(left) == 1)
            elif error is not None:
                self._verdict(id, "error", reason=f"{type(error).__name__}: {error}")
            else:
                self._verdict(id, "error", reason="the test gave no verdict")
        return [self.verdicts[id] for id in self.test.ids]

    def _stopped(self, id: str, error: Refused | Broken, *, alone: bool) -> None:
        """A verdict on what was still to be looked at when a container could not be had, or answered nonsense."""
        if isinstance(error, Refused) and self._plain(error):
            self._verdict(
                id, "error", reason=f"nothing can be compared, as the plainest container failed: {error}"
            )
        elif alone:
            wanted = f"success of {error.call.operation}" if isinstance(error, Refused) else self.test.title
            self._verdict(id, "fail", expected=wanted, seen=str(error))
        else:
            self._verdict(id, "error", reason=f"it wasn't looked at, as the test stopped before: {error}")

    def _plain(self, error: Refused) -> bool:
        """Was what a runtime refused to create or to start a container without any change of the configuration?"""
        container = next((each for each in self.containers if each.id in error.call.argv), None)
        if container is None or error.call.operation not in ("create", "start"):
            return False
        config, base = container.config, self.base(container.id)
        return isinstance(config, dict) and bundle.changed(base, config) <= {"process.args[]", "process.args"}

    def clean(self, *, keep: bool = False) -> None:
        """Remove what the test, or the runtime in it, left: processes, cgroups, mounts, and files unless `keep`."""
        for container in self.containers:
            container.clean()
        kernel.stop_children()
        cgroup.remove(self.cgroups)
        for point in kernel.mounts_below(self.folder):
            with contextlib.suppress(OSError):
                kernel.umount(point)
        if not keep and not kernel.mounts_below(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
