"""A state.json that isn't what the runtime wrote: every command says so in one sentence, and `delete --force` clears
what it can."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun, read_record
from faults import one_sentence

COMMANDS = ("state", "start", "kill", "ps", "pause", "resume", "update", "events", "delete")


def truncated(path: Path) -> None:
    """In the middle of its first line."""
    os.truncate(path, path.stat().st_size // 3)


def second_line_lost(path: Path) -> None:
    """What a full disk or a crash leaves: the last line has no end."""
    os.truncate(path, path.stat().st_size - 1)


def within_the_configuration(path: Path) -> None:
    """The copy of config.json is shorter than its line says."""
    os.truncate(path, path.read_bytes().index(b"\nconfig ") + 100)


def without_last_line(path: Path) -> None:
    """All lines are whole, and the one with the pid is lost: as if create had been interrupted, but the init lives."""
    os.truncate(path, path.read_bytes().rindex(b"\n", 0, -1) + 1)


def second_line_garbage(path: Path) -> None:
    """A damaged disk."""
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(lines[0] + b"\n" + b"\xff" * len(lines[1]) + b"\n")


def another(path: Path) -> None:
    """A copy of another container's."""
    path.write_text(path.read_text().replace(path.parent.name, "other"))


def line(text: str) -> Callable[[Path], None]:
    """This and nothing else."""

    def write(path: Path) -> None:
        path.write_text(text)

    return write


def without(key: str, value: object = None) -> Callable[[Path], None]:
    """One property is missing, or of another kind."""

    def write(path: Path) -> None:
        record = read_record(path)
        del record[key]
        if value is not None:
            record[key] = value
        path.write_text(json.dumps(record) + "\n")

    return write


def in_place_of(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Something that is no file."""

    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


DAMAGES = {
    "absent": in_place_of(lambda path: None),
    "empty": line(""),
    "no end": line("{"),
    "lost": second_line_lost,
    "FIFO": in_place_of(os.mkfifo),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "within the configuration": within_the_configuration,
    "no last line": without_last_line,
    "truncated": line('{"id": "x"\n'),
    "garbage": second_line_garbage,
    "null": line("null\n"),
    "list": line("[1]\n"),
    "number": line("1\n"),
    "binary": lambda path: path.write_bytes(b"\xff\0\n"),
    "deep": line("[" * 100000 + "\n"),
    "object": line("{}\n" + '{"status": "created"}\n'),
    "another": another,
    "no id": without("id"),
    "no pid": without("pid"),
    "text pid": without("pid", "1"),
    "no cgroup": without("cgroup"),
    "list cgroup": without("cgroup", ["a"]),
    "link": in_place_of(lambda path: path.symlink_to("/etc/passwd")),
}

FIRST_LINE_IS_WHOLE = ("lost", "garbage", "half", "within the configuration", "no last line")


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged(name: str, pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """Each command names a damaged state, and leaves the container alone, which lives; list warns of it. Only
    `delete --force` removes it, with all that the first line names."""
    container = pyrun.create(bundle().args("sleep", "1000"))
    path = pyrun.root / container.id / "state.json"
    record = path.read_bytes()
    pid = container.pid
    DAMAGES[name](path)
    for command in COMMANDS:
        if (name, command) == ("no last line", "ps"):
            continue  # it lists what is in the cgroup, without asking for more
        result = pyrun(command, container.id, time_limit=10)
        assert result.code == 1, (command, result)
        assert one_sentence(result.err), (command, result)
        assert "damaged" in result.err, (command, result)
        assert f"delete --force {container.id}" in result.err, (command, result)
    result = pyrun("list", "--format", "json")
    assert result.code == 0
    assert container.id not in result.out
    assert result.err.count("\n") == 1
    assert f'warning: state.json of container "{container.id}" is damaged' in result.err
    assert os.path.exists(f"/proc/{pid}")
    assert "in use" in pyrun.error("create", "--bundle", str(container.bundle.path), container.id)
    result = pyrun("delete", "--force", container.id, time_limit=10)
    assert result.code == 0, result
    assert name == "no last line" or result.err.startswith("pyrun: warning: state.json of container "), result
    assert not path.parent.exists()
    if name not in FIRST_LINE_IS_WHOLE:  # it names the cgroup, and so all processes
        path.parent.mkdir(mode=0o700)
        path.write_bytes(record)
        container.delete("--force")
    pyrun.assert_gone(container.id)


def test_foreign_pid(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """A pid that another process has by now: it is not the container, and never signalled."""
    container = pyrun.create(bundle().args("sleep", "1000"))
    path = pyrun.root / container.id / "state.json"
    record = path.read_bytes()
    with path.open("a") as file:
        file.write(json.dumps({"pid": os.getpid()}) + "\n")
    assert container.status == "stopped"
    assert "is stopped" in pyrun.error("kill", container.id, "KILL")
    path.write_bytes(record)
    container.delete("--force")


def test_other_files(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """Files in the state folder that aren't the runtime's go with it."""
    container = pyrun.create(bundle())
    (pyrun.root / container.id / "notes").write_text("x")
    container.delete("--force")
    pyrun.assert_gone(container.id)


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: path.symlink_to("/tmp")])
def test_no_folder(make: Callable[[Path], None], pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """What stands in the root folder and is no container is left alone."""
    pyrun.root.mkdir(exist_ok=True)
    path = pyrun.root / "thing"
    make(path)
    for command in COMMANDS:
        assert pyrun.error(command, "thing") == 'container "thing" does not exist'
    assert "in use" in pyrun.error("create", "--bundle", str(bundle().path), "thing")
    pyrun.ok("delete", "--force", "thing")
    assert pyrun.ok("list", "--format", "json").out in ("[]\n", "null\n")
    path.unlink()
