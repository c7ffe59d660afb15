"""What the new mount calls can't say goes by mount(2): the mount is the same, and no option is lost or cut."""

from __future__ import annotations

import os
from pathlib import Path

import needs
import pytest
from test_mount_options import parse

# options, and what they are made of: mount(2) is needed for each of REASONS
OPTIONS = (
    "sync dirsync lazytime mand ro nosuid nodev noexec noatime strictatime nodiratime nosymfollow size=64k mode=1750"
    " nr_inodes=9 uid=7 rnosuid shared"
).split()
SETS = [
    *([option] for option in OPTIONS),
    OPTIONS,
    ["sync", "async"],
    ["async", "sync"],
    ["lazytime", "nolazytime", "dirsync", "ro", "rw"],
    ["ro", "nosuid", "nodev", "noexec", "relatime", "size=64k", "sync"],
    [],
]
REASONS = {"silent": ["silent"], "iversion": ["iversion"], "long": ["mpol=default" + "," * 250]}


@pytest.mark.parametrize("reason", REASONS)
def test_the_same_mount_by_old_and_new_calls(pyrun, bundle, reason):
    """For each set of options: a tmpfs that is made by mount(2) has the mount's and file system's options, and the
    propagation, that it has without the reason for mount(2)."""
    one = bundle(sh="cat /proc/self/mountinfo; stat -c '%n %a %u' /m/*")
    for index, options in enumerate(SETS):
        for way, more in (("old", REASONS[reason]), ("new", [])):
            folder = one.rootfs / f"m/{way}{index:02}"
            folder.mkdir(parents=True, mode=0o711)
            one.mount(f"/m/{way}{index:02}", "tmpfs", "tmpfs", *options, *more)
    text = pyrun.output(one)
    found = parse("\n".join(line for line in text.splitlines() if " - " in line))
    stats = dict(line.split(" ", 1) for line in text.splitlines() if line.startswith("/m/"))
    for index, options in enumerate(SETS):
        old, new = found[f"/m/old{index:02}"], found[f"/m/new{index:02}"]
        assert [x for x in old.superblock if x not in ("iversion", "i_version")] == new.superblock, options
        assert (old.options, [tag.split(":")[0] for tag in old.tags], stats[f"/m/old{index:02}"]) == (
            new.options,
            [tag.split(":")[0] for tag in new.tags],
            stats[f"/m/new{index:02}"],
        ), options


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_nothing_of_it_stays(pyrun, bundle, user):
    """The place where mount(2) puts it first is in nobody's sight, neither the container's nor the host's."""
    one = bundle(sh="cat /proc/self/mountinfo").mount("/tmp", "tmpfs", "marked", "silent", "size=64k")
    one.config["linux"]["rootfsPropagation"] = "shared"
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    before = Path("/proc/self/mountinfo").read_text()
    lines = pyrun.output(one.write()).splitlines()
    assert [line.split()[4] for line in lines if "marked" in line] == ["/tmp"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_failure_has_its_cause(pyrun, bundle):
    """What mount(2) refuses is said as of any other mount."""
    one = bundle().mount("/tmp", "tmpfs", "tmpfs", "silent", "no_such_option")
    sentence = pyrun.refused(one)
    assert sentence.startswith(
        f"mounts[{len(one.config['mounts']) - 1}]: mounting tmpfs on /tmp: mount tmpfs: "
    )


def test_other_options_that_are_too_long(pyrun, bundle):
    """What doesn't fit is refused with the limit, and never cut."""
    one = bundle().mount("/tmp", "tmpfs", "tmpfs", *["size=64k"] * 600, "x" * 256)
    assert "4095" in pyrun.refused(one)


def overlay(one, count, length, upper=False):
    """A bundle with an overlay of `count` layers at /ov, the path of each at least `length` bytes, on another file
    system than an overlay can't be on top of; each layer has a file of its own."""
    paths = []
    for index in range(count):
        path = one.path / "layers" / f"{index:03}"
        while len(str(path)) < length:
            path /= "x" * min(200, length - len(str(path)))
        path.mkdir(parents=True)
        (path / f"file{index:03}").touch()
        paths.append(str(path))
    options = ["lowerdir=" + ":".join(paths)]
    if upper:
        for name in ("upper", "work"):
            (one.path / name).mkdir()
        options += [f"upperdir={one.path}/upper", f"workdir={one.path}/work"]
    (one.rootfs / "ov").mkdir()
    return one.mount("/ov", "overlay", "overlay", *options)


@pytest.mark.parametrize(
    ("count", "length"), [(2, 0), (5, 100), (70, 100), (300, 0), (30, 300)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
def test_an_overlay_has_all_of_its_layers(pyrun, bundle, count, length, upper):
    """However long its options are, unless the kernel can't take them: then it is refused, and the limit is named."""
    needs.filesystem("overlay")
    one = overlay(bundle(sh="ls /ov | wc -l"), count, length, upper)
    result = pyrun.run(one)
    if result.code and max(length, 4096 // count) < 4096 and "4095" in result.err:
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        assert release < ((6, 13) if length > 200 else (6, 7)), result.err
        return
    if result.code and upper and "upperdir" in result.err:
        pytest.skip("needs a file system that can be an overlay's upper layer")
    assert result.out == f"{count}\n", result.err
