"""What the Features structure says of a runtime in a word, held to what the runtime then does (features-linux.md).

What isn't said, or is null, is unknown by the text, so nothing can be held against it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from oci_conformance.core.bundle import Changes
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.profiles.spec.features import features
from oci_conformance.profiles.spec.net_devices import KEY, NAMESPACE, devices
from oci_conformance.profiles.spec.net_devices import NEEDS as NEEDS_OF_DEVICES
from oci_conformance.profiles.spec.seccomp import ERRNO, VICTIM, profile, rule
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test
from oci_spec import fields
from oci_spec.features import FEATURES


@test("features.form")
def form(t: Case) -> None:
    """Each property has the type that the specification gives it, and no list has a name twice."""
    document = features(t)
    if document:
        faults = list(_faults(FEATURES, document, ""))
        t.check("features.form", not faults, "a structure in the form of the specification", faults)


def _faults(kind: Any, value: Any, path: str) -> Iterator[str]:
    """What has another type than its table says. Names are left alone: a runtime may know newer ones."""
    check = kind[0]
    if value is None:
        return
    if check is fields.check_object:
        if not isinstance(value, dict):
            yield f"{path} is no object"
            return
        for name, child in kind[1].items():
            yield from _faults(child, value.get(name), f"{path}.{name}".lstrip("."))
    elif check is fields.check_list:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            yield f"{path} is no array of strings"
        elif len(value) != len({*value}):
            yield f"{path} has {sorted({each for each in value if value.count(each) > 1})} more than once"
    elif check is fields.check_map:
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            yield f"{path} is no map of strings"
    elif type(value) is not (bool if check is fields.check_boolean else str):
        yield f"{path} is {value!r}"


def _held(t: Case, id: str, path: str, works: Callable[[], str]) -> None:
    """A verdict: what features says is what can be seen. `works` says why it doesn't, or nothing."""
    value: Any = features(t)
    if not value:
        return
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, bool):
        t.unsupported(id, f"the runtime's features doesn't say {path}")
        return
    fault = works()
    seen = f"{path} is {str(value).lower()}, and {fault or 'it works'}"
    t.check(id, value == (not fault), f"{path} as it is", seen)


def _runs(t: Case, changes: Changes) -> str:
    try:
        t.run(changes, "cwd")
    except Refused as error:
        return str(error)
    return ""


def _in_cgroup(t: Case, *, unified: bool) -> str:
    """Why a container isn't in a cgroup of its own in a hierarchy of this kind; nothing if it is."""
    try:
        container = t.create({}, "pause")
    except Refused as error:
        return str(error)
    paths = Cgroups.of(container.pid).paths
    own = [path for names, path in paths.items() if bool(names) != unified and container.id in path]
    return "" if own else f"its cgroups are {sorted({*paths.values()})}"


@test("features.cgroup-v1", needs=("root", "cgroup-v1:devices"))
def cgroup_v1(t: Case) -> None:
    """Where cgroup v1 works, features doesn't deny it; and where it says so, it works."""
    _held(t, "features.cgroup-v1", "linux.cgroup.v1", lambda: _in_cgroup(t, unified=False))


@test("features.cgroup-v2", needs=("root", "cgroup-v2"))
def cgroup_v2(t: Case) -> None:
    """Where cgroup v2 works, features doesn't deny it; and where it says so, it works."""
    _held(t, "features.cgroup-v2", "linux.cgroup.v2", lambda: _in_cgroup(t, unified=True))


@test("features.seccomp-enabled")
def seccomp(t: Case) -> None:
    """Where a filter works, features doesn't deny it; and where it says so, one works."""
    changes = profile(rule(ERRNO, VICTIM))
    _held(t, "features.seccomp-enabled", "linux.seccomp.enabled", lambda: _runs(t, changes))


@test("features.apparmor-enabled", needs=("root", "apparmor"))
def apparmor(t: Case) -> None:
    """Where a profile of AppArmor works, features doesn't deny it; and where it says so, one works."""
    changes = {"process.apparmorProfile": "unconfined"}
    _held(t, "features.apparmor-enabled", "linux.apparmor.enabled", lambda: _runs(t, changes))


@test("features.rdt-enabled", needs=("root", "resctrl"))
def rdt(t: Case) -> None:
    """Where a class of Intel RDT works, features doesn't deny it; and where it says so, one works."""
    changes = {"linux.intelRdt": {"closID": t.cgroups}}
    _held(t, "features.rdt-enabled", "linux.intelRdt.enabled", lambda: _runs(t, changes))


@test("features.netdev-enabled", needs=NEEDS_OF_DEVICES)
def net_devices(t: Case) -> None:
    """Where a network device can be moved, features doesn't deny it; and where it says so, one can."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(devices("oc-a"))
        changes = {**NAMESPACE, KEY: {"oc-a": {}}}
        _held(t, "features.netdev-enabled", "linux.netDevices.enabled", lambda: _runs(t, changes))
