"""linux.resources.devices (config-linux.md#allowed-device-list).

The devices of these tests have numbers kept for local use, so there is no driver: who may open one is told ENXIO or
ENODEV by the kernel, who may not is told EPERM before that.
"""

from __future__ import annotations

from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

MAJOR = 240
NEEDS = ("root", "cap:MKNOD")
DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}


def _rule(allow: bool, minor: int, access: str) -> dict[str, object]:
    return {"allow": allow, "type": "c", "major": MAJOR, "minor": minor, "access": access}


def _check(t: Case, id: str, rules: list[dict[str, object]], expected: dict[str, bool]) -> None:
    """A verdict: under the rules, which of the accesses "c 240 1 r" (type, numbers, r, w or m) are let through?"""
    changes: dict[str, object] = {
        f"process.capabilities.{name}": ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")
    }
    numbers = {tuple(text.split(" ")[:3]) for text in expected}
    changes["linux.devices"] = [
        {
            "type": kind,
            "path": f"/dev/{kind}{major}-{minor}",
            "major": int(major),
            "minor": int(minor),
            "fileMode": 0o666,
        }
        for kind, major, minor in sorted(numbers)
    ]
    commands = {}
    for text in expected:
        kind, major, minor, letter = text.split(" ")
        node = f"/dev/{kind}{major}-{minor}"
        commands[text] = (
            f"mknod {node}-new {kind} {major} {minor}" if letter == "m" else f"open {node} {letter}"
        )
    seen = t.run({**changes, "linux.resources.devices": rules}, *commands.values())
    answers = {text: seen.error(command) for text, command in commands.items()}
    wrong = {
        text: answers[text] or "it was let through"
        for text, allowed in expected.items()
        if answers[text] not in (("ENXIO", "ENODEV", None) if allowed else ("EPERM",))
    }
    words = ", ".join(f"{text} {'allowed' if expected[text] else 'EPERM'}" for text in wrong or expected)
    t.check(id, not wrong, words, wrong)


@test("cgdev.order", needs=NEEDS)
def order(t: Case) -> None:
    """Rules are applied in their order: of two for one device the later one counts."""
    rules = [
        DENY_ALL,
        _rule(True, 0, "rw"),
        _rule(False, 0, "w"),  # after what it takes away from
        _rule(False, 1, "w"),
        _rule(True, 1, "rw"),  # after what would take away from it
        _rule(True, 2, "rw"),
        _rule(False, 2, "rw"),
        _rule(True, 2, "r"),
    ]
    expected = {f"c {MAJOR} {minor} r": True for minor in range(3)}
    expected |= {f"c {MAJOR} {minor} w": minor == 1 for minor in range(3)}
    _check(t, "cgdev.order", rules, expected)


@test("cgdev.order", needs=NEEDS)
def order_of_all(t: Case) -> None:
    """A rule for every device undoes those before it, and is undone by those after it."""
    first, second = f"c {MAJOR} 0 r", f"c {MAJOR} 1 r"
    allow, deny = _rule(True, 0, "rwm"), _rule(False, 0, "rwm")
    _check(t, "cgdev.order", [allow, DENY_ALL], {first: False, second: False})
    _check(t, "cgdev.order", [DENY_ALL, allow], {first: True, second: False})
    _check(t, "cgdev.order", [ALLOW_ALL, deny], {first: False, second: True})
    _check(t, "cgdev.order", [deny, ALLOW_ALL], {first: True, second: True})


@test("cgdev.order", needs=NEEDS, may_refuse=True)
def hole(t: Case) -> None:
    """A device is denied after others of its kind were allowed; cgroup v1 can't do that, so there an error is right."""
    every = {"allow": True, "type": "c", "major": MAJOR, "access": "rwm"}
    expected = {f"c {MAJOR} 4 r": True, f"c {MAJOR} 5 r": False, f"c {MAJOR} 5 w": False}
    try:
        _check(t, "cgdev.order", [DENY_ALL, every, _rule(False, 5, "rw")], expected)
    except Refused as error:
        if t.host.controllers.get("devices") is not False:
            raise
        t.check("cgdev.order", error.call.code > 0, "an error", str(error))


@test("cgdev.defaults", needs=NEEDS)
def defaults(t: Case) -> None:
    """A rule without type is for character and block devices, one without major or minor for every number."""
    rules = [
        DENY_ALL,  # without a type or a number
        {"allow": True, "type": "c", "major": MAJOR, "access": "rwm"},
        {"allow": True, "type": "b", "minor": 9, "access": "rwm"},
    ]
    expected = {
        f"c {MAJOR} 1 r": True,
        f"c {MAJOR} 77 w": True,
        f"c {MAJOR + 1} 1 r": False,
        f"b {MAJOR} 1 r": False,
        f"b {MAJOR + 2} 9 r": True,
        f"b {MAJOR + 3} 9 w": True,
        f"b {MAJOR + 2} 8 r": False,
    }
    _check(t, "cgdev.defaults", rules, expected)
    both = {f"c {MAJOR} 1 r": True, f"b {MAJOR} 1 w": True}
    _check(t, "cgdev.defaults", [DENY_ALL, ALLOW_ALL], both)


@test("cgdev.access", needs=NEEDS)
def access(t: Case) -> None:
    """r lets a device be read and w be written, alone and in company; m lets it be made."""
    granted = ("r", "w", "m", "rw", "rm", "wm", "rwm")
    rules = [DENY_ALL, *(_rule(True, minor, letters) for minor, letters in enumerate(granted))]
    expected = {
        f"c {MAJOR} {minor} {letter}": letter in letters
        for minor, letters in enumerate(granted)
        for letter in "rwm"
        if letter != "m" or letter in letters
    }
    _check(t, "cgdev.access", rules, expected)


@test("cgdev.access", needs=NEEDS)
def making(t: Case) -> None:
    """A device whose rule has no m, or that has no rule, can't be made."""
    expected = {f"c {MAJOR} 0 m": False, f"c {MAJOR} 1 m": True, f"b {MAJOR} 1 m": False}
    _check(t, "cgdev.access", [DENY_ALL, _rule(True, 0, "rw"), _rule(True, 1, "m")], expected)
