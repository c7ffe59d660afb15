"""A tmpfs without `mode` takes that of the folder that it covers, as with runc and crun: /root stays private."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("mode", [0o700, 0o710, 0o755, 0o1777, 0o2775, 0o3770, 0o000], ids=oct)
@pytest.mark.parametrize(
    "more",
    [(), ("size=64k", "nosuid"), ("silent",), ("tmpcopyup",)],
    ids=["plain", "settings", "mount2", "tmpcopyup"],
)
def test_the_mode_of_the_covered_folder(pyrun, bundle, mode, more):
    """All of its bits, setgid and sticky too; whatever else is asked for."""
    one = bundle(sh="stat -c '%a %u' /covered").mount("/covered", "tmpfs", "tmpfs", *more)
    (one.rootfs / "covered").mkdir()
    (one.rootfs / "covered").chmod(mode)
    assert pyrun.output(one) == f"{mode:o} 0\n"


@pytest.mark.parametrize("more", [(), ("tmpcopyup",)], ids=["plain", "tmpcopyup"])
def test_a_folder_that_had_to_be_made(pyrun, bundle, more):
    """There is no mode to take: all may write, as in a tmpfs that is mounted by hand."""
    one = bundle({"root": {"readonly": False}}, sh="stat -c %a /made")
    assert pyrun.output(one.mount("/made", "tmpfs", "tmpfs", *more)) == "1777\n"


@pytest.mark.parametrize("options", [["mode=750"], ["size=64k,mode=750"], ["mode=750", "loud"]], ids=" ".join)
def test_a_mode_that_is_asked_for(pyrun, bundle, options):
    """mode= wins over the folder's."""
    one = bundle(sh="stat -c %a /covered").mount("/covered", "tmpfs", "tmpfs", *options)
    (one.rootfs / "covered").mkdir(mode=0o700)
    assert pyrun.output(one) == "750\n"


def test_other_file_systems_keep_theirs(pyrun, bundle):
    """The folder's mode is of no matter to another type."""
    one = bundle(sh="stat -c %a /covered").mount("/covered", "ramfs", "ramfs", "mode=711")
    (one.rootfs / "covered").mkdir(mode=0o700)
    assert pyrun.output(one) == "711\n"
