"""The sources of bind mounts: where they are looked up, when, and with whose rights."""

from __future__ import annotations

import os
from pathlib import Path

import needs
import pytest
from bundles import eventually, sleeping


def below(one, path):
    """A path of the container as the host names it."""
    return f"{one.rootfs}{path}"


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize(
    "form",
    ["{root}/mnt", "{root}//./mnt/", "{real}/mnt", "rootfs/mnt"],
    ids=["plain", "dots", "real path", "relative"],
)
def test_a_source_that_an_earlier_mount_provides(pyrun, bundle, form, user):
    """Mounts are made in order: a later one shows what an earlier one has put into the root file system."""
    one = bundle(sh="cat /final/file /deeper/file")
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    (one.path / "data/deep").mkdir(parents=True)
    (one.path / "data/file").write_text("top\n")
    (one.path / "data/deep/file").write_text("deep\n")
    one.rootfs.rename(one.path / "real")
    one.rootfs.symlink_to("real")
    source = form.format(root=one.rootfs, real=one.path / "real")
    one.mount("/mnt", "none", "data", "bind")
    one.mount("/final", "none", source, "rbind").mount("/deeper", "none", f"{source}/deep", "bind")
    assert pyrun.output(one) == "top\ndeep\n"


def test_a_source_in_the_root_leads_nowhere_else(pyrun, bundle, tmp_path):
    """A link of the image in such a source is followed as in the container, never on the host."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("of the host\n")
    for target in (str(tmp_path / "secret"), "../" * 30 + str(tmp_path / "secret")[1:]):
        one = bundle(sh="ls -a /final")
        (one.rootfs / "link").symlink_to(target)
        (one.rootfs / str(tmp_path / "secret")[1:]).mkdir(parents=True)
        one.mount("/final", "none", below(one, "/link"), "bind")
        assert "file" not in pyrun.output(one)


def test_a_missing_source_in_the_root(pyrun, bundle):
    """What no earlier mount has made is missing, and which entry wants it is said."""
    one = bundle()
    one.mount("/final", "none", below(one, "/no/such"), "bind")
    sentence = pyrun.refused(one)
    assert sentence.startswith(
        f"mounts[{len(one.config['mounts']) - 1}].source: opening the source of /final"
    )


def test_a_joined_mount_namespace_without_proc(pyrun, bundle):
    """Sources are opened there, too."""
    needs.program("unshare", "umount")
    with sleeping("unshare", "-m", "sh", "-c", "umount -l /proc; exec sleep 1000") as pid:
        mountinfo = Path(f"/proc/{pid}/mountinfo")
        eventually(lambda: " /proc " not in mountinfo.read_text(), "/proc is still mounted there")
        one = bundle(sh="ls /volume").namespace("mount", f"/proc/{pid}/ns/mnt")
        (one.path / "data/file").mkdir(parents=True)
        assert pyrun.output(one.mount("/volume", "none", "data", "bind")) == "file\n"


def test_validate_counts_on_earlier_mounts(pyrun, bundle):
    """A source in the root file system that isn't there yet is no fault of the host; one elsewhere is."""
    one = bundle()
    (one.path / "data").mkdir()
    one.mount("/mnt", "none", "data", "bind").mount("/final", "none", below(one, "/mnt/made"), "bind")
    result = pyrun("validate", str(one.path))
    assert "mounts[" not in result.out + result.err
    one.mount("/other", "none", str(one.path / "missing"), "bind")
    result = pyrun("validate", str(one.path))
    assert f"mounts[{len(one.config['mounts']) - 1}].source" in result.out + result.err


@pytest.mark.parametrize("mode", [0o700, 0o000, 0o070], ids=oct)
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_source_that_only_the_hosts_root_reaches(pyrun, bundle, tmp_path, mode, kind):
    """With a user namespace, a source below another user's closed folder is opened with the host's rights."""
    needs.user_namespaces()
    one = bundle({"process": {"rlimits": None}}, sh="cat /volume/file || cat /volume").user_namespace()
    closed = tmp_path / "closed"
    (closed / "volume").mkdir(parents=True)
    (closed / "volume/file").write_text("found\n")
    (closed / "volume/file").chmod(0o644)
    os.chown(closed, 1001, 1001)
    closed.chmod(mode)
    one.mount("/volume", "none", str(closed / "volume" / ("file" if kind == "file" else "")), "bind", "ro")
    one.sh("cat /volume/file" if kind == "folder" else "cat /volume")
    assert pyrun.output(one) == "found\n"


def test_a_missing_source_in_a_closed_folder(pyrun, bundle, tmp_path):
    """What isn't there isn't found by the host's root, either."""
    needs.user_namespaces()
    one = bundle({"process": {"rlimits": None}}).user_namespace()
    (tmp_path / "closed").mkdir(mode=0o700)
    os.chown(tmp_path / "closed", 1001, 1001)
    one.mount("/volume", "none", str(tmp_path / "closed/missing"), "bind")
    assert ".source: opening the source of /volume" in pyrun.refused(one)


# the flags of what is bound

ALL = ["nosuid", "nodev", "noexec"]
FLAGS = [
    # the host's, the options, the container's
    (ALL, [], ALL),
    (ALL, ["rprivate"], ALL),
    (ALL, ["rw"], []),
    (ALL, ["nosuid"], ["nosuid"]),
    (ALL, ["exec"], []),
    (ALL, ["noatime"], ["noatime"]),
    (ALL, ["ro"], ["ro", *ALL]),
    (ALL, ["ro", "nodev"], ["ro", "nodev"]),
    (["ro"], [], ["ro"]),
    (["ro"], ["nosuid", "nodev"], ["nosuid", "nodev"]),
    (["ro"], ["rw"], []),
    (["noatime"], ["nodev"], ["nodev", "noatime"]),
]


@pytest.mark.parametrize(("hosts", "options", "wanted"), FLAGS, ids=lambda value: ",".join(value) or "none")
def test_flags_of_a_bind_mount(pyrun, bundle, hosts, options, wanted):
    """Flags that the configuration names take the place of the source's, as in runc and crun; `ro` alone is added."""
    needs.program("unshare", "mount")
    one = bundle(sh="grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6")
    (one.path / "s").mkdir()
    script = f'mount -t tmpfs -o {",".join(hosts)} s {one.path}/s && exec "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    found = pyrun.output(one.mount("/m", "none", "s", "bind", *options)).strip().split(",")
    assert set(found) - {"rw", "relatime"} == set(wanted)


@pytest.mark.parametrize("options", [["rw"], ["nosuid"], ["nodev", "relatime"]], ids=" ".join)
def test_a_user_namespace_keeps_the_hosts_flags(pyrun, bundle, options):
    """What the host has locked stays: the configuration's flags come on top."""
    needs.user_namespaces()
    one = bundle(
        {"process": {"rlimits": None}}, sh="grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6"
    ).user_namespace()
    (one.path / "s").mkdir()
    script = f'mount -t tmpfs -o nosuid,noexec s {one.path}/s && exec "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    found = pyrun.output(one.mount("/m", "none", "s", "bind", *options)).strip().split(",")
    assert {"nosuid", "noexec"} <= set(found)


LOCKED = """
mount -t tmpfs -o nosuid,noexec,noatime s {0} && mkdir {0}/sub && mount -t tmpfs -o nodev t {0}/sub && exec "$@"
"""


@pytest.fixture
def locked(pyrun, bundle):
    """A bundle with a user namespace that binds a tree, on /m and /m/sub, whose flags the kernel locks there."""
    needs.user_namespaces()
    one = bundle(
        {"process": {"rlimits": None}}, sh="cut -d' ' -f5,6 /proc/self/mountinfo | grep '^/m'"
    ).user_namespace()
    (one.path / "s").mkdir()
    script = LOCKED.format(one.path / "s")
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    return one.mount("/m", "none", "s", "rbind")


@pytest.mark.parametrize(
    ("options", "more", "below"),
    [
        (["remount", "ro"], {"ro"}, set()),
        (["remount", "bind", "ro", "nodev"], {"ro", "nodev"}, set()),
        (["remount", "bind", "noatime", "nosuid"], set(), set()),
        (["remount", "rro"], {"ro"}, {"ro"}),
        (["remount", "bind", "rnosymfollow", "rnosuid"], {"nosymfollow"}, {"nosymfollow", "nosuid"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_remount_keeps_what_is_locked(pyrun, locked, options, more, below):
    """A remount in a user namespace adds to a mount what it names, and the flags of the host stay, for the tree below
    as well."""
    locked.mount("/m", "none", "none", *options)
    found = dict(line.split() for line in pyrun.output(locked).splitlines())
    assert set(found["/m"].split(",")) - {"rw"} == {"nosuid", "noexec", "noatime"} | more
    assert set(found["/m/sub"].split(",")) - {"rw", "relatime"} == {"nodev"} | below


@pytest.mark.parametrize(
    "option", ["exec", "suid", "strictatime", "relatime", "nodiratime", "rexec", "rdev", "rrelatime"]
)
def test_a_remount_takes_nothing_away(pyrun, locked, option):
    """To take away by its name what the host has locked, or to change access times, is an error that says so."""
    locked.mount("/m", "none", "none", "remount", "bind", option)
    sentence = pyrun.refused(locked)
    assert sentence.startswith(f"mounts[{len(locked.config['mounts']) - 1}]: remounting /m: ")
    assert "a user namespace can't take away the flags that the host's mount has" in sentence
