"""Mounts with mapped ids: by the mount's own mappings, by the container's, or by crun's form of the option."""

from __future__ import annotations

import os

import needs
import pytest

MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 30000, "size": 100}],
    "gidMappings": [{"containerID": 0, "hostID": 40000, "size": 100}],
}
OWN = [{"containerID": 1, "hostID": 30001, "size": 1}, {"containerID": 0, "hostID": 500, "size": 1}]
TREE = (
    "mount -t tmpfs t {0} && mkdir {0}/sub && mount -t tmpfs t {0}/sub && touch {0}/f {0}/sub/f"
    " && chown 1:2 {0}/f {0}/sub/f"
)


@pytest.fixture
def mapped(pyrun, bundle):
    """A bundle whose folder `data` is a tree of two tmpfs, each with a file `f` of user 1 and group 2, where the
    runtime is called; its program shows to whom they belong in /m."""
    needs.kernel(6, 3, "a tmpfs with mapped ids")
    one = bundle(sh="stat -c %u:%g /m/f /m/sub/f 2>/dev/null; true")
    (one.path / "data").mkdir()
    script = TREE.format(one.path / "data") + ' && exec "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    return one


def in_user_namespace(one):
    """Let the container have ids from 100000 on."""
    needs.user_namespaces()
    one.config["process"]["rlimits"] = None
    return one.user_namespace()


def add(one, *options, **more):
    """Bind the tree on /m."""
    one.mount("/m", "none", "data", *options)
    one.config["mounts"][-1].update(more)
    return one.write()


@pytest.mark.parametrize(
    ("options", "more", "seen"),
    [
        (["rbind", "ridmap"], MAPS, "30001:40002\n30001:40002\n"),
        (["rbind", "idmap"], MAPS, "30001:40002\n1:2\n"),
        (["rbind"], MAPS, "30001:40002\n1:2\n"),
        (["bind", "idmap"], MAPS, "30001:40002\n"),
        (["rbind", "idmap", "ridmap"], MAPS, "30001:40002\n30001:40002\n"),
        (["bind", "idmap"], {"uidMappings": OWN, "gidMappings": OWN}, "30001:65534\n"),
        (["bind", "idmap=uids=0-7-10;gids=0-100-10"], {}, "8:102\n"),
        (["bind", "idmap=gids=2-5-1;uids=0-70-1#1-90-1"], {}, "90:5\n"),
        (["rbind", "ridmap=uids=1-3-1;gids=2-4-1"], {}, "3:4\n3:4\n"),
    ],
    ids=["ridmap", "idmap", "no option", "bind", "last", "two ranges", "crun's", "crun's two", "crun's tree"],
)  # fmt: skip
def test_own_mappings(pyrun, mapped, options, more, seen):
    """A mount's own mappings say to whom its files belong in the container, and their owners stay what they are."""
    assert pyrun.output(add(mapped, *options, **more)) == seen


@pytest.mark.parametrize(
    ("options", "more", "seen"),
    [
        (["bind", "idmap"], {}, "1:2\n"),
        (["rbind", "ridmap"], {}, "1:2\n1:2\n"),
        (["bind"], {}, "65534:65534\n"),
        (
            ["bind", "idmap"],
            {key: [{"containerID": 0, "hostID": 100500, "size": 9}] for key in MAPS},
            "501:502\n",
        ),
        (["bind", "idmap=uids=0-100010-5;gids=0-100020-5"], {}, "11:22\n"),
        (["bind", "idmap=uids=@0-10-5;gids=@1-20-5"], {}, "11:21\n"),
    ],
    ids=["implied", "implied for a tree", "not mapped", "own", "crun's", "crun's relative"],
)
@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
def test_in_a_user_namespace(pyrun, mapped, options, more, seen, joined):
    """Without mappings of its own a mount has the container's; own ones count from the host, and crun's with an @ from
    the container's namespace. The mount is whole, though the container's root has no rights over its file system."""
    one = in_user_namespace(mapped)
    one.config["linux"]["namespaces"] = [
        entry for entry in one.config["linux"]["namespaces"] if entry["type"] != "network"
    ]
    place = "data/sub" if options[0] == "bind" else "data"
    one.mount("/m", "none", place, *options)
    one.config["mounts"][-1].update(more)
    for entry in one.config["mounts"]:
        if entry["type"] == "sysfs":
            entry.update(type="none", source="/sys", options=["rbind", "ro"])
    one.write()
    if not joined:
        assert pyrun.output(one) == seen
        return
    holder = pyrun.start(in_user_namespace_holder(one))
    one.namespace("user", f"/proc/{holder.pid}/ns/user")
    assert pyrun.output(one) == seen
    holder.kill("KILL")


def in_user_namespace_holder(one):
    """The same bundle as a container that stays."""
    program = one.config["process"]["args"]
    one.args("sleep", "1000")
    copy = type(one)(one.path.parent / f"{one.path.name}-holder", one.config)
    copy.path.mkdir(mode=0o755)
    (copy.path / "rootfs").symlink_to(one.rootfs)
    (copy.path / "data").symlink_to(one.path / "data")
    copy.write()
    one.args(*program)
    return copy


@pytest.mark.parametrize(
    "more", [[], ["silent"], ["ro", "tmpcopyup"]], ids=["new calls", "mount(2)", "copied"]
)
def test_a_new_file_system(pyrun, bundle, more):
    """A tmpfs with mapped ids: what root makes outside of the mapping has no owner; the mount's own root folder is the
    first id of the mapping."""
    needs.kernel(6, 3, "a tmpfs with mapped ids")
    one = bundle(sh="stat -c %u:%g /m").mount("/m", "tmpfs", "tmpfs", "idmap", *more)
    one.config["mounts"][-1].update(MAPS)
    assert pyrun.output(one.write()) == "30000:40000\n"


def test_a_new_file_system_in_a_user_namespace(pyrun, bundle):
    """There, too, by mappings of its own."""
    needs.kernel(6, 3, "a tmpfs with mapped ids")
    one = in_user_namespace(bundle(sh="stat -c %u:%g /m")).mount("/m", "tmpfs", "tmpfs", "idmap")
    one.config["mounts"][-1].update({key: [{"containerID": 0, "hostID": 100007, "size": 1}] for key in MAPS})
    assert pyrun.output(one.write()) == "7:7\n"


def test_a_source_in_the_root_file_system(pyrun, mapped):
    """What an earlier mount has put there is mapped when its turn comes, by the parent for a user namespace."""
    one = in_user_namespace(mapped)
    one.mount("/first", "none", "data/sub", "bind").mount(
        "/m", "none", f"{one.rootfs}/first", "bind", "idmap"
    )
    assert pyrun.output(one) == "1:2\n"


def test_what_is_written_belongs_to_the_mapped(pyrun, bundle):
    """Root of the container makes files of the first id in the source, and the host sees those."""
    one = in_user_namespace(bundle(sh="touch /m/new && stat -c %u:%g /m/new"))
    (one.path / "data").mkdir(mode=0o755)
    os.chown(one.path / "data", 0, 0)
    one.mount("/m", "none", "data", "bind", "idmap=uids=0-100000-9;gids=0-100000-9")
    assert pyrun.output(one) == "0:0\n"
    status = os.stat(one.path / "data/new")
    assert (status.st_uid, status.st_gid) == (0, 0)


def test_no_process_and_no_descriptor_stays(pyrun, mapped):
    """Nobody lives in the user namespace that carried the mapping, and a hook is given no descriptor of it."""
    one = add(mapped, "bind", "idmap", **MAPS)
    one.hook("createContainer", "ls -l /proc/self/fd >&2; exit 1")
    sentence = pyrun.refused(one)
    assert "user:[" not in sentence


@pytest.mark.parametrize(
    ("kind", "options", "more", "where", "sentence"),
    [
        ("none", ["bind", "idmap"], {}, ".options[1]", "a user namespace, to go with it"),
        ("none", ["bind", "idmap"], {"uidMappings": MAPS["uidMappings"]}, ".gidMappings", "to go with uidMappings"),
        ("none", ["bind", "idmap=uids=0-1-1;gids=0-1-1"], MAPS, ".options[1]", "mappings can be given once"),
        ("none", ["bind", "idmap=uids=0-1-1"], {}, ".options[1]", "gids are missing"),
        ("none", ["bind", "idmap=gids=0-1-1"], {}, ".options[1]", "uids are missing"),
        ("none", ["bind", "ridmap=uids=0-1;gids=0-1-1"], {}, ".options[1]", "'0-1' is no range"),
        ("none", ["bind", "idmap=uids=0-1--1;gids=0-1-1"], {}, ".options[1]", "'0-1--1' is no range"),
        ("none", ["bind", "idmap=uids=;gids=0-1-1"], {}, ".options[1]", "'' is no range"),
        ("none", ["bind", "idmap=users=0-1-1"], {}, ".options[1]", "'users=0-1-1' isn't uids=FROM-TO-COUNT"),
        ("none", ["bind", "idmap=uids=0-1-1;uids=0-1-1"], {}, ".options[1]", "isn't uids=FROM-TO-COUNT"),
        ("none", ["bind", "idmap=uids=0-1-2#1-5-1;gids=0-1-1"], {}, ".options[1]", "ranges that do not overlap"),
        ("none", ["bind", "idmap=uids=0-1-0;gids=0-1-1"], {}, ".options[1]", "a size above 0"),
        ("none", ["bind", "idmap=uids=@0-1-1;gids=0-1-1"], {}, ".options[1]", "isn't in one range of linux.uid"),
        ("none", ["bind", "idmap=uids=@@0-1-1;gids=0-1-1"], {}, ".options[1]", "is no range"),
        ("", ["private", "idmap=uids=0-1-1;gids=0-1-1"], {}, ".options[1]", "only a new mount can have mapped ids"),
        ("none", ["remount", "bind"], MAPS, ".options", "only a new mount can have mapped ids"),
        ("cgroup", ["idmap"], MAPS, ".options[0]", "the kernel has no mapped ids for cgroups"),
    ],
    ids=[
        "nothing to map by", "users alone", "twice", "crun's users alone", "crun's groups alone", "short", "dashes",
        "empty", "another name", "a name twice", "overlap", "no size", "relative to nothing", "two @", "propagation",
        "remount", "cgroup",
    ],
)  # fmt: skip
def test_refused(pyrun, bundle, kind, options, more, where, sentence):
    """What can't be mapped, or isn't a mapping, is refused by name before anything is made, by `validate` as well."""
    one = bundle().mount("/tmp", kind, ".", *options)
    one.config["mounts"][-1].update(more)
    one.write()
    said = pyrun.refused(one)
    assert f"mounts[{len(one.config['mounts']) - 1}]{where}: " in said
    assert sentence in said
    checked = pyrun("validate", str(one.path))
    assert checked.code == 1
    assert f"mounts[{len(one.config['mounts']) - 1}]{where}" in checked.out + checked.err


def test_relative_beyond_the_container(pyrun, bundle):
    """A range that the container's namespace hasn't got in one piece is refused, where crun maps others' ids."""
    one = in_user_namespace(bundle()).mount("/tmp", "none", ".", "bind", "idmap=uids=@0-65530-9;gids=0-1-1")
    assert "'@0-65530-9' isn't in one range of linux.uidMappings" in pyrun.refused(one)


def test_a_new_file_system_by_the_containers_mapping(pyrun, bundle):
    """What is made in the user namespace needs none, and the kernel would refuse it."""
    one = in_user_namespace(bundle()).mount("/m", "tmpfs", "tmpfs", "idmap")
    assert "a file system that is made in a user namespace has its ids already" in pyrun.refused(one)


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_a_file_system_that_cannot_be_mapped(pyrun, bundle, user):
    """One sentence with the JSON path, the destination, and what the kernel lacks."""
    one = bundle()
    if user:
        in_user_namespace(one)
    one.mount("/m", "none", "/proc", "bind", "idmap")
    one.config["mounts"][-1].update(MAPS)
    sentence = pyrun.refused(one.write())
    assert sentence.startswith(
        f"mounts[{len(one.config['mounts']) - 1}]: mapping the ids of /m: mount_setattr: Invalid argument ("
    )
    assert "has no mapped mounts in this kernel" in sentence
