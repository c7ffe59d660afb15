"""Every mount option of the specification's table, seen in /proc/self/mountinfo or by what it does."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import needs
import pytest
from bundles import Bundle, Pyrun, default_config, make_rootfs

from oci_spec import mount_options

# What a new tmpfs has without options: `relatime` is the kernel's default.
# name of the case: options, what must be among the mount's options, what must not, what among the file system's
CASES = {
    "none": ([], ["rw", "relatime"], ["nosuid", "nodev", "noexec", "ro", "nodiratime"], ["rw"]),
    "defaults": (["defaults"], ["rw", "relatime"], ["nosuid", "nodev", "noexec"], ["rw"]),
    "ro": (["ro"], ["ro"], ["rw"], []),
    "rw": (["ro", "rw"], ["rw"], ["ro"], ["rw"]),
    "nosuid": (["nosuid"], ["nosuid"], [], []),
    "suid": (["nosuid", "suid"], [], ["nosuid"], []),
    "nodev": (["nodev"], ["nodev"], [], []),
    "dev": (["nodev", "dev"], [], ["nodev"], []),
    "noexec": (["noexec"], ["noexec"], [], []),
    "exec": (["noexec", "exec"], [], ["noexec"], []),
    "noatime": (["noatime"], ["noatime"], ["relatime"], []),
    "atime": (["noatime", "atime"], ["relatime"], ["noatime"], []),
    "relatime": (["strictatime", "relatime"], ["relatime"], ["noatime"], []),
    "norelatime": (["norelatime"], [], ["noatime"], []),
    "strictatime": (["strictatime"], [], ["relatime", "noatime"], []),
    "nostrictatime": (["strictatime", "nostrictatime"], ["relatime"], ["noatime"], []),
    "nodiratime": (["nodiratime"], ["nodiratime"], [], []),
    "diratime": (["nodiratime", "diratime"], [], ["nodiratime"], []),
    "nosymfollow": (["nosymfollow"], ["nosymfollow"], [], []),
    "symfollow": (["nosymfollow", "symfollow"], [], ["nosymfollow"], []),
    "last counts": (["exec", "noexec", "suid", "nosuid", "noatime", "atime"], ["noexec", "nosuid"], ["noatime"], []),
    "sync": (["sync"], [], [], ["sync"]),
    "async": (["sync", "async"], [], [], ["!sync"]),
    "dirsync": (["dirsync"], [], [], ["dirsync"]),
    "lazytime": (["lazytime"], [], [], ["lazytime"]),
    "nolazytime": (["lazytime", "nolazytime"], [], [], ["!lazytime"]),
    "mand": (["mand"], [], [], []),
    "nomand": (["nomand"], [], [], []),
    "iversion": (["iversion"], [], [], []),
    "noiversion": (["noiversion"], [], [], []),
    "silent": (["silent"], [], [], []),
    "loud": (["loud"], [], [], []),
    "old flags and new": (["silent", "nosuid", "ro", "size=64k", "sync"], ["nosuid", "ro"], [], ["size=64k", "sync"]),
    "rro": (["rro"], ["ro"], [], []),
    "rrw": (["ro", "rrw"], [], [], []),
    "rnosuid": (["rnosuid"], ["nosuid"], [], []),
    "rsuid": (["nosuid", "rsuid"], [], ["nosuid"], []),
    "rnodev": (["rnodev"], ["nodev"], [], []),
    "rdev": (["nodev", "rdev"], [], ["nodev"], []),
    "rnoexec": (["rnoexec"], ["noexec"], [], []),
    "rexec": (["noexec", "rexec"], [], ["noexec"], []),
    "rnoatime": (["rnoatime"], ["noatime"], ["relatime"], []),
    "ratime": (["noatime", "ratime"], ["relatime"], ["noatime"], []),
    "rrelatime": (["strictatime", "rrelatime"], ["relatime"], [], []),
    "rnorelatime": (["rnorelatime"], [], ["noatime"], []),
    "rstrictatime": (["rstrictatime"], [], ["relatime", "noatime"], []),
    "rnostrictatime": (["strictatime", "rnostrictatime"], ["relatime"], [], []),
    "rnodiratime": (["rnodiratime"], ["nodiratime"], [], []),
    "rdiratime": (["nodiratime", "rdiratime"], [], ["nodiratime"], []),
    "rnosymfollow": (["rnosymfollow"], ["nosymfollow"], [], []),
    "rsymfollow": (["nosymfollow", "rsymfollow"], [], ["nosymfollow"], []),
    "data": (["size=128k", "mode=750", "nr_inodes=77"], [], [], ["size=128k", "mode=750", "nr_inodes=77"]),
    "data in one": (["size=128k,mode=750"], [], [], ["size=128k", "mode=750"]),
}  # fmt: skip

# name of the case: options, a prefix that one of the optional fields must have, or "" for none of them
PROPAGATION = {
    "shared": (["shared"], "shared:"),
    "rshared": (["rshared"], "shared:"),
    "private": (["private"], ""),
    "rprivate": (["rprivate"], ""),
    "unbindable": (["unbindable"], "unbindable"),
    "runbindable": (["runbindable"], "unbindable"),
    "slave": (["slave"], ""),
    "rslave": (["rslave"], ""),
    "shared, then slave": (["shared", "slave"], ""),
}
# Options with a test of their own: in this file, or in test_mounts.py
ELSEWHERE = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"}


@dataclass
class Entry:
    """A line of mountinfo: proc_pid_mountinfo(5)."""

    options: list[str]
    tags: list[str]
    kind: str = ""
    superblock: list[str] = field(default_factory=list)


def parse(text: str) -> dict[str, Entry]:
    """mountinfo by mount point; of several, the last counts, as it lies on top."""
    found = {}
    for line in text.splitlines():
        before, after = (part.split(" ") for part in line.split(" - "))
        found[before[4]] = Entry(before[5].split(","), before[6:], after[0], after[2].split(","))
    return found


def where(case):
    """The mount point of a case."""
    return "/m/" + case.replace(" ", "_").replace(",", "")


@pytest.fixture(scope="module")
def seen(runtime, busybox, tmp_path_factory):
    """The mountinfo of one container that has a tmpfs for each case."""
    needs.root()
    folder = tmp_path_factory.mktemp("options")
    make_rootfs(folder / "bundle/rootfs", busybox)
    one = Bundle(folder / "bundle", default_config())
    for case, options in [(case, CASES[case][0]) for case in CASES] + [
        (case, PROPAGATION[case][0]) for case in PROPAGATION
    ]:
        one.mount(where(case), "tmpfs", "tmpfs", *options)
    pyrun = Pyrun(runtime, folder / "pyrun")
    text = pyrun.output(one.args("cat", "/proc/self/mountinfo"))
    assert not pyrun.leftovers()
    return parse(text)


@pytest.mark.parametrize("case", CASES)
def test_option(seen, case):
    """The option does what mount(8) says; of contradicting ones the last counts."""
    _, present, absent, superblock = CASES[case]
    entry = seen[where(case)]
    assert entry.kind == "tmpfs"
    assert [option for option in present if option not in entry.options] == []
    assert [option for option in absent if option in entry.options] == []
    for option in superblock:
        if option[0] == "!":
            assert option[1:] not in entry.superblock
        else:
            assert option in entry.superblock


@pytest.mark.parametrize("case", PROPAGATION)
def test_propagation_option(seen, case):
    """The propagation of the mount is the one asked for."""
    wanted = PROPAGATION[case][1]
    tags = seen[where(case)].tags
    assert bool(tags) == bool(wanted)
    assert not wanted or tags[0].startswith(wanted)


def test_every_option_has_a_case():
    """The tables above have all options of the specification."""
    known = {*mount_options.FLAGS, *mount_options.PROPAGATION, *mount_options.RECURSIVE, *ELSEWHERE}
    assert known == {case for case in [*CASES, *PROPAGATION, *ELSEWHERE] if case in known}


PRIVATE_WITH_TREE = 'mount -t tmpfs a "$0" && mkdir "$0/sub" && mount -t tmpfs b "$0/sub" && exec "$@"'


@pytest.fixture
def tree(pyrun, bundle):
    """A bundle beside whose config lies `tree`, a tmpfs with another one on tree/sub, in a mount namespace of ours."""
    needs.program("unshare", "mount")
    one = bundle()
    (one.path / "tree").mkdir()
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", PRIVATE_WITH_TREE, str(one.path / "tree")]
    return one


def mounts_of(pyrun, one):
    """The mountinfo of a container of this bundle."""
    return parse(pyrun.output(one.args("cat", "/proc/self/mountinfo")))


def test_bind_and_rbind(pyrun, tree):
    """`bind` takes one mount, `rbind` all that is mounted below it too."""
    tree.mount("/one", "none", "tree", "bind").mount("/all", "none", "tree", "rbind")
    found = mounts_of(pyrun, tree)
    assert "/one" in found
    assert "/one/sub" not in found
    assert {"/all", "/all/sub"} <= set(found)


@pytest.mark.parametrize(
    ("plain", "recursive", "shown"),
    [
        ("ro", "rro", "ro"),
        ("nosuid", "rnosuid", "nosuid"),
        ("nodev", "rnodev", "nodev"),
        ("noexec", "rnoexec", "noexec"),
        ("noatime", "rnoatime", "noatime"),
        ("nodiratime", "rnodiratime", "nodiratime"),
        ("nosymfollow", "rnosymfollow", "nosymfollow"),
    ],
)
def test_recursive(pyrun, tree, plain, recursive, shown):
    """A plain option is of the mount alone, the one with r before it of all mounts below it too."""
    tree.mount("/plain", "none", "tree", "rbind", plain).mount("/deep", "none", "tree", "rbind", recursive)
    found = mounts_of(pyrun, tree)
    assert shown in found["/plain"].options
    assert shown not in found["/plain/sub"].options
    assert shown in found["/deep"].options
    assert shown in found["/deep/sub"].options


@pytest.mark.parametrize("kind", ["shared", "private", "unbindable"])
def test_recursive_propagation(pyrun, tree, kind):
    """The recursive propagations reach the mounts below, the plain ones don't."""
    tree.mount("/plain", "none", "tree", "rbind", kind).mount("/deep", "none", "tree", "rbind", "r" + kind)
    if kind == "private":
        pyrun.wrapper[2:2] = ["--propagation", "shared"]
    found = mounts_of(pyrun, tree)
    if kind == "private":
        assert (found["/plain"].tags, found["/deep"].tags, found["/deep/sub"].tags) == ([], [], [])
        assert found["/plain/sub"].tags[0].startswith("master:")
    else:
        assert found["/plain"].tags[0].startswith(kind)
        assert found["/plain/sub"].tags == []
        assert found["/deep"].tags[0].startswith(kind)
        assert found["/deep/sub"].tags[0].startswith(kind)


def test_slave_is_the_default_for_bind_mounts(pyrun, tree):
    """A bind mount of a shared mount hears of the host's new mounts, and tells nothing back."""
    pyrun.wrapper[2:2] = ["--propagation", "shared"]
    tree.mount("/default", "none", "tree", "rbind").mount("/slave", "none", "tree", "rbind", "rslave")
    found = mounts_of(pyrun, tree)
    for path in ("/default", "/slave", "/slave/sub"):
        assert [tag.split(":")[0] for tag in found[path].tags] == ["master"], path


@pytest.mark.parametrize(
    "options", [["remount", "ro"], ["remount", "bind", "ro"], ["bind", "remount", "ro", "nosuid"]]
)
def test_remount(pyrun, bundle, options):
    """`remount` changes a mount that an earlier entry, or the image, has."""
    one = bundle().mount("/m", "tmpfs", "tmpfs", "nodev", "size=1m").mount("/m", "tmpfs", "tmpfs", *options)
    found = mounts_of(pyrun, one)["/m"]
    assert "ro" in found.options
    assert "nodev" in found.options
    assert "size=1024k" in found.superblock
    assert ("nosuid" in found.options) == ("nosuid" in options)


def test_remount_with_data(pyrun, bundle):
    """`remount` passes what it doesn't know to the file system."""
    one = (
        bundle()
        .mount("/m", "tmpfs", "tmpfs", "size=1m")
        .mount("/m", "tmpfs", "tmpfs", "remount", "size=2m", "noexec")
    )
    found = mounts_of(pyrun, one)["/m"]
    assert "size=2048k" in found.superblock
    assert "noexec" in found.options


def test_remount_of_what_is_no_mount(pyrun, bundle):
    """`remount` of a folder that nothing is mounted on is an error."""
    one = bundle().mount("/etc", "tmpfs", "tmpfs", "remount", "ro")
    assert pyrun.refused(one).startswith(f"mounts[{len(one.config['mounts']) - 1}]: ")


def test_behaviour_of_ro(pyrun, bundle):
    """Nothing can be written through a read-only bind mount, and its source stays writable."""
    one = bundle(sh="touch /m/file 2>&1; touch /rw/file && ls /rw")
    (one.path / "data").mkdir()
    one.mount("/m", "none", "data", "bind", "ro").mount("/rw", "none", "data", "bind")
    assert pyrun.output(one) == "touch: /m/file: Read-only file system\nfile\n"
    assert os.listdir(one.path / "data") == ["file"]


def test_behaviour_of_noexec_nodev_nosymfollow(pyrun, bundle):
    """Programs can't be executed, devices not opened, links not followed."""
    one = bundle(sh="/m/echo hi; cat /m/null; cat /m/link; ls /m; true")
    (one.path / "data").mkdir()
    (one.path / "data/echo").write_bytes((one.rootfs / "bin/busybox").read_bytes())
    (one.path / "data/echo").chmod(0o755)
    os.mknod(one.path / "data/null", 0o20666, os.makedev(1, 3))
    (one.path / "data/link").symlink_to("/etc/passwd")
    one.mount("/m", "none", "data", "bind", "noexec", "nodev", "nosymfollow")
    result = pyrun.run(one)
    assert result.out == "echo\nlink\nnull\n"
    assert [line.split(": ", 1)[1].lower() for line in result.err.splitlines()] == [
        "/m/echo: permission denied",
        "can't open '/m/null': permission denied",
        "can't open '/m/link': too many levels of symbolic links",
    ]


def test_bad_option(pyrun, bundle):
    """An unknown option goes to the file system, whose own words are in the error."""
    one = bundle().mount("/m", "tmpfs", "tmpfs", "made-up")
    sentence = pyrun.refused(one)
    assert sentence.startswith(f"mounts[{len(one.config['mounts']) - 1}]: mounting tmpfs on /m: ")
    assert "Unknown parameter 'made-up'" in sentence


def test_bad_value(pyrun, bundle):
    """So does a value that the file system refuses."""
    sentence = pyrun.refused(bundle().mount("/m", "tmpfs", "tmpfs", "size=many"))
    assert "Bad value for 'size'" in sentence


def test_long_option(pyrun, bundle):
    """Options that fsconfig can't take, such as overlayfs's of many layers, go by mount(2)."""
    needs.filesystem("overlay")
    one = bundle(sh="cat /m/file /m/up")
    layers = []
    for number in range(12):
        layer = one.path / f"layer-with-a-long-name-{number}"
        layer.mkdir()
        (layer / "file").write_text(f"{number}\n")
        layers.append(str(layer))
    for name in ("upper", "work"):
        (one.path / name).mkdir()
    (one.path / "upper/up").write_text("up\n")
    options = [f"lowerdir={':'.join(layers)}", f"upperdir={one.path}/upper", f"workdir={one.path}/work"]
    one.mount("/m", "overlay", "overlay", *options)
    result = pyrun.run(one)
    if "not permitted" in result.err or "wrong fs type" in result.err:
        pytest.skip(f"needs overlayfs on the file system of temporary files: {result.err}")
    assert (result.code, result.err, result.out) == (0, "", "0\nup\n")


def test_long_source(pyrun, bundle):
    """A source that fsconfig can't take goes by mount(2), too."""
    one = bundle().mount("/m", "tmpfs", "x" * 1000, "size=1m", "noexec")
    line = next(line for line in pyrun.output(one.args("cat", "/proc/mounts")).splitlines() if " /m " in line)
    assert line.startswith("x" * 1000 + " /m tmpfs rw,noexec")
