"""process.ioPriority: class and priority of the program's input and output."""

from __future__ import annotations

import needs
import pytest

SHOW = "ionice -p $$; sh -c 'ionice -p $$'"
CLASSES = [
    ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
    ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0"),
    ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
    ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ("IOPRIO_CLASS_IDLE", 7, "idle"),
]


def with_priority(one, name, priority):
    """Ask for a class and a priority."""
    one.config["process"]["ioPriority"] = {"class": name, "priority": priority}
    return one.write()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user-namespace"])
@pytest.mark.parametrize(("name", "priority", "shown"), CLASSES, ids=[f"{n[13:]}-{p}" for n, p, _ in CLASSES])
def test_each_class(pyrun, bundle, name, priority, shown, user):
    """The program, what it starts, and a program of exec have the class and the priority that are configured; also
    where the container's root has no right to them."""
    needs.capability("CAP_SYS_NICE")
    one = bundle(sh=SHOW)
    if user:
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    assert pyrun.output(with_priority(one, name, priority)).splitlines() == [shown, shown]
    container = pyrun.start(one.args("sleep", "1000"))
    assert container.sh(SHOW).splitlines() == [shown, shown]
    container.delete("--force")


def test_exec_has_its_own(pyrun, bundle, tmp_path):
    """A process document's ioPriority takes precedence over the container's."""
    one = with_priority(bundle(sh="sleep 1000"), "IOPRIO_CLASS_BE", 6)
    container = pyrun.start(one)
    document = tmp_path / "process.json"
    document.write_text(
        '{"cwd": "/", "args": ["sh", "-c", "ionice -p $$"],'
        ' "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 2}}'
    )
    assert container.exec((), "--process", str(document)).out.strip() == "best-effort: prio 2"
    container.delete("--force")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"class": "IOPRIO_CLASS_NONE", "priority": 0}, "process.ioPriority.class"),
        ({"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority"),
        ({"class": "IOPRIO_CLASS_BE", "priority": -1}, "process.ioPriority.priority"),
        ({"class": "IOPRIO_CLASS_BE"}, "process.ioPriority.priority"),
    ],
    ids=["class", "above", "below", "no-priority"],
)
def test_refused(pyrun, bundle, value, path):
    """A class that isn't one of the three, and a priority that isn't in 0 to 7, are refused by name."""
    assert pyrun.refused(bundle({"process": {"ioPriority": value}})).startswith(f"{path}: ")


def test_without_the_right(pyrun, bundle):
    """A caller without CAP_SYS_NICE is told what real-time priority needs."""
    needs.user_namespaces()
    pyrun.wrapper = ["unshare", "-Umr"]
    one = with_priority(bundle(), "IOPRIO_CLASS_RT", 1)
    one.config["process"]["rlimits"] = None
    sentence = pyrun.refused(one.write())
    assert sentence.startswith(
        "process.ioPriority: setting IOPRIO_CLASS_RT with priority 1: ioprio_set: not permitted"
    )
    assert "CAP_SYS_NICE" in sentence
