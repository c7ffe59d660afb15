"""User and group ids: one that means "no change" to the kernel is taken nowhere, nor one that doesn't exist."""

from __future__ import annotations

import copy
import json

import pytest
from bundles import merge

NO_CHANGE = 4294967295  # (uid_t) -1: setresuid(2), chown(2)
MAPPED = 1000  # how many ids the user namespace of these tests has

# JSON path -> change of the configuration that puts a number there
PLACES = {
    "process.user.uid": lambda config, number: config["process"]["user"].update(uid=number),
    "process.user.gid": lambda config, number: config["process"]["user"].update(gid=number),
    "process.user.additionalGids[1]": lambda config, number: config["process"]["user"].update(
        additionalGids=[5, number]
    ),
    "linux.devices[0].uid": lambda config, number: config["linux"].update(
        devices=[{"path": "/dev/mine", "type": "p", "uid": number}]
    ),
    "linux.devices[0].gid": lambda config, number: config["linux"].update(
        devices=[{"path": "/dev/mine", "type": "p", "gid": number}]
    ),
    "mounts[0].options[1]": lambda config, number: config["mounts"].insert(
        0, {"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["nosuid", f"uid={number}"]}
    ),
    "mounts[0].options[0]": lambda config, number: config["mounts"].insert(
        0, {"destination": "/tmp", "type": "tmpfs", "source": "x", "options": [f"gid={number}"]}
    ),
}


def errors(pyrun, bundle):
    """JSON paths of the errors that `validate` finds."""
    found = json.loads(pyrun("validate", "--format", "json", str(bundle.path)).out)
    return [each["path"] for each in found if each["severity"] == "error"]


@pytest.mark.parametrize("path", PLACES)
def test_no_change_is_no_id(pyrun, bundle, path):
    """(uid_t) -1 would leave the program root: refused by its JSON path wherever an id stands; -2 is an id."""
    one = bundle(sh="id -u; id -g; id -G")
    change = PLACES[path]
    good = copy.deepcopy(one.config)
    change(one.config, NO_CHANGE)
    sentence = pyrun.refused(one.write())
    assert sentence.startswith(f"{path}: ")
    assert "4294967294" in sentence
    assert errors(pyrun, one) == [path]
    one.config = good
    change(one.config, NO_CHANGE - 1)
    numbers = pyrun.output(one.write()).split()
    assert ("4294967294" in numbers) == path.startswith("process.")


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
@pytest.mark.parametrize("side", ["containerID", "hostID"])
def test_no_mapping_reaches_no_change(pyrun, bundle, key, side):
    """A range of ids that has (uid_t) -1 in it is refused by its JSON path."""
    one = bundle().user_namespace()
    mapping = {"containerID": 1, "hostID": 300000, "size": 2, side: NO_CHANGE - 1}
    one.config["linux"][key] = [one.config["linux"][key][0] | {"size": 1}, mapping]
    sentence = pyrun.refused(one.write())
    assert sentence.startswith(f"linux.{key}[1].{side}: ")
    assert f"linux.{key}[1].{side}" in errors(pyrun, one)


EXEC = {
    "--user": (["--user", str(NO_CHANGE)], "--user"),
    "--user, the group": (["--user", f"0:{NO_CHANGE}"], "--user"),
    "--additional-gids": (["--additional-gids", str(NO_CHANGE)], "--additional-gids"),
    "--user, by a name": (["--user", "nochange"], "--user"),
    "--user, by a group's name": (["--user", "0:nochange"], "--user"),
}


@pytest.mark.parametrize("case", EXEC)
def test_exec_as_no_change(pyrun, bundle, case):
    """exec refuses (uid_t) -1 as well, be it from the command line or the container's own files."""
    one = bundle().args("sleep", "1000")
    one.script("/etc/passwd", f"nochange:x:{NO_CHANGE}:{NO_CHANGE}::/:/bin/sh\n")
    one.script("/etc/group", f"nochange:x:{NO_CHANGE}:\n")
    options, start = EXEC[case]
    assert pyrun.start(one).exec_refused(["id"], *options).startswith(start)


@pytest.mark.parametrize(
    "user",
    [{"uid": NO_CHANGE, "gid": 0}, {"uid": 0, "gid": NO_CHANGE}, {"additionalGids": [NO_CHANGE]}],
    ids=str,
)
def test_exec_process_as_no_change(pyrun, bundle, tmp_path, user):
    """So it is with a document of `exec --process`."""
    one = bundle().args("sleep", "1000")
    process = copy.deepcopy(one.config["process"])
    merge(process, {"user": user, "args": ["id"]})
    (tmp_path / "process.json").write_text(json.dumps(process))
    sentence = pyrun.start(one).exec_refused([], "--process", str(tmp_path / "process.json"))
    assert sentence.startswith(f"process.user.{next(key for key in user if user[key])}")


@pytest.mark.parametrize("path", PLACES)
def test_unmapped_ids(pyrun, bundle, path):
    """An id that the user namespace doesn't have is refused by its JSON path, with its number and its mappings."""
    one = bundle().user_namespace(size=MAPPED)
    PLACES[path](one.config, MAPPED)
    sentence = pyrun.refused(one.write())
    kind = "uid" if path.endswith(("uid", "options[1]")) else "gid"
    assert sentence.startswith(f"{path}: found 1000, wanted an id that linux.{kind}Mappings has")
    assert errors(pyrun, one) == [path]


@pytest.mark.parametrize(
    "options", [["--user", "1000"], ["--user", "0:1000"], ["--additional-gids", "1000"]], ids=" ".join
)
def test_exec_as_an_unmapped_id(pyrun, bundle, options):
    """exec says which kind of id the container's user namespace lacks."""
    container = pyrun.start(bundle().user_namespace(size=MAPPED).args("sleep", "1000"))
    sentence = container.exec_refused(["id"], *options)
    assert sentence.startswith("process.user.")
    assert "not exist in the container's user namespace" in sentence
