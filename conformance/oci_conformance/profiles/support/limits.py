"""Limits of cgroups: which file of which version shows one, and the verdict on a runtime that was asked for it.

A runtime must apply a property or answer with an error (runtime.md#create, config.md#valid-values). So where the kernel
lacks a limit an error is right, and silence is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oci_conformance.core import cgroup
from oci_conformance.core.bundle import Changes
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.run.case import Case, Container, Refused

Fits = str | Callable[[str], bool]


@dataclass(frozen=True)
class Knob:
    """A limit: files in the directory of a container's cgroup, and what one of them has to say.

    Where a kernel or the text leaves open which file it is, or on which version it doesn't exist, there are several or
    none. A text is compared word by word, and is what the file takes when it is written.
    """

    controller: str
    v1: Mapping[str, Fits] = field(default_factory=dict)
    v2: Mapping[str, Fits] = field(default_factory=dict)

    def files(self, container: Container) -> dict[Path, Fits]:
        """The files that exist in a container's cgroup."""
        groups = Cgroups.of(container.pid)
        directory = groups.directory(self.controller)
        if directory is None:
            return {}
        wanted = self.v2 if groups.unified(self.controller) else self.v1
        return {directory / name: fits for name, fits in wanted.items() if (directory / name).exists()}

    def holds(self, container: Container) -> bool:
        """Does one of the files say what it should?"""
        return any(_fits(path.read_text(), fits) for path, fits in self.files(container).items())

    def seen(self, container: Container) -> str:
        """What the files say."""
        found = {path.name: path.read_text().strip() for path in self.files(container)}
        named = " or ".join({**self.v1, **self.v2})
        return (
            ", ".join(f"{name} {text!r}" for name, text in found.items())
            or f"no {named} in the container's cgroup"
        )

    @property
    def words(self) -> str:
        """What is expected, for a report."""
        found = {
            name: f"{name} {fits!r}" if isinstance(fits, str) else name
            for name, fits in ({**self.v1, **self.v2}).items()
        }
        return f"one of {', '.join(found.values())}" if len(found) > 1 else "".join(found.values())

    def takes(self, container: Container) -> bool:
        """Would the kernel have taken it? Tried on a container that has no such limit, and is ours."""
        for path, fits in self.files(container).items():
            if not isinstance(fits, str):
                return True
            try:
                path.write_text(fits)
            except OSError:
                continue
            if _fits(path.read_text(), fits):
                return True
        return False


def _fits(text: str, fits: Fits) -> bool:
    return text.split() == fits.split() if isinstance(fits, str) else fits(text.strip())


def check(t: Case, id: str, container: Container, knob: Knob) -> bool:
    """A verdict: the limit stands in the cgroup of a created container."""
    return t.check(id, knob.holds(container), knob.words, knob.seen(container))


def applied(t: Case, id: str, changes: Changes, knob: Knob, without: Changes | None = None) -> None:
    """A verdict: with `changes` the limit stands in the cgroup, or there is an error because the kernel hasn't got it.

    `without` is the same without the limit in question, to find out what the kernel has.
    """
    try:
        container = t.create(changes)
    except Refused as error:
        if knob.takes(t.create(without or {})):
            t.check(id, False, knob.words, str(error))
        else:
            names = " or ".join({**knob.v1, **knob.v2}) or "such limit"
            t.unsupported(id, f"this host has no {names} that takes the value, and {error}")
    else:
        check(t, id, container, knob)


def refuses(t: Case, id: str, changes: Changes, why: str) -> bool:
    """A verdict: what can't be applied here is refused, not passed over. `why` it can't."""
    return t.is_refused(id, t.prepare(changes), at="start", expected=f"an error: {why}")


def premade(t: Case, controller: str, name: str, values: dict[str, str]) -> dict[str, str]:
    """Make a cgroup of ours with a controller and limits, and return the change that puts a container into it.

    Skips the rest of the test where that can't be done: the top of cgroup2 isn't ours to change.
    """
    if t.host.systemd_cgroup:
        t.skip("systemd makes the cgroups, so there can be none before")
    path = f"/{t.cgroups}/{name}"
    directory = place(controller) / path.lstrip("/")
    if t.host.controllers[controller]:
        if controller not in (place(controller) / "cgroup.subtree_control").read_text().split():
            t.skip(f"this host lacks the {controller} controller in cgroup.subtree_control at the top")
        directory.parent.mkdir(exist_ok=True)
        (directory.parent / "cgroup.subtree_control").write_text(f"+{controller}")
    directory.mkdir(parents=True)
    for file, value in values.items():
        (directory / file).write_text(value)
    return {"linux.cgroupsPath": path}


def place(controller: str) -> Path:
    """The mount point of a controller's hierarchy on this host; of cgroup2 if it is in none of v1."""
    unified = Path()
    for names, point, _ in cgroup.mounted():
        if controller in names:
            return point
        if not names:
            unified = point
    return unified
