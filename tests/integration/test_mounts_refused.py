"""Mount options that would have no effect are refused by name, never dropped; create and validate say the same."""

from __future__ import annotations

import pytest


def refused(pyrun, one):
    """The sentence, which `validate` has too."""
    sentence = pyrun.refused(one)
    result = pyrun("validate", str(one.path))
    assert result.code == 1
    assert sentence.partition(": ")[0] in result.out + result.err
    return sentence


@pytest.mark.parametrize(
    "option", ["size=64k", "copy-symlink", "src-nofollow", "dest-nofollow", "no_such_option", "uid=5"]
)
@pytest.mark.parametrize("bind", [["bind"], ["rbind", "ro"], ["remount", "bind", "ro"]], ids=" ".join)
def test_options_that_a_bind_mount_cannot_have(pyrun, bundle, option, bind):
    """An option of a file system, of another runtime, or of nobody."""
    one = bundle().mount("/tmp", "none", ".", *bind, option)
    index = len(one.config["mounts"]) - 1
    assert refused(pyrun, one).startswith(
        f"mounts[{index}].options[{len(bind)}]: a bind mount has no option {option!r}"
    )


@pytest.mark.parametrize("option", ["size=64k", "sync", "lazytime", "iversion"])
def test_options_of_a_change_of_propagation(pyrun, bundle, option):
    """An entry that only changes the propagation has no file system to give options to."""
    one = bundle().mount("/tmp", "", "none", "private", option)
    assert f"a change of propagation has no option {option!r}" in refused(pyrun, one)


def test_what_a_remount_cannot_have(pyrun, bundle):
    """There is no call that sets iversion of a file system that is there."""
    one = bundle().mount("/tmp", "tmpfs", "tmpfs").mount("/tmp", "", "none", "remount", "iversion")
    assert "iversion for a new mount only" in refused(pyrun, one)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("none", ["bind", "tmpcopyup"]), ("proc", ["tmpcopyup"]), ("tmpfs", ["remount", "tmpcopyup"])],
    ids=["bind", "proc", "remount"],
)
def test_tmpcopyup_elsewhere(pyrun, bundle, kind, options):
    """tmpcopyup is for a new tmpfs."""
    one = bundle().mount("/tmp", kind, ".", *options)
    assert "tmpcopyup is an option of a new tmpfs only" in refused(pyrun, one)


@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_the_type_makes_no_bind_mount(pyrun, bundle, kind):
    """The type `bind` without the option: what is missing is said."""
    one = bundle().mount("/tmp", kind, ".", "ro")
    index = len(one.config["mounts"]) - 1
    assert refused(pyrun, one) == (
        f'mounts[{index}].type: the type "{kind}" alone makes no bind mount (add "{kind}" to the options)'
    )


@pytest.mark.parametrize(
    "option", ["uid=4294967295", "gid=4294967295", "gid=0xffffffff", "uid=-1", "size=64k,gid=4294967295"]
)
@pytest.mark.parametrize("kind", ["tmpfs", "devpts"])
def test_an_owner_that_is_none(pyrun, bundle, kind, option):
    """4294967295 is no id but the kernel's "no change"."""
    one = bundle().mount("/tmp", kind, kind, option)
    assert "wanted an id, 4294967294 at most" in refused(pyrun, one)


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "host's namespace"])
def test_unknown_options_of_cgroups(any_host, bundle, kind, own):
    """An option that no cgroup file system has is an error that names it."""
    one = bundle()
    one.config["mounts"] = [m for m in one.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    one.mount("/sys/fs/cgroup", kind, "cgroup", "ro", "invalid_cgroup_option")
    one.namespace("cgroup", "" if own else None)
    sentence = any_host.refused(one)
    assert "invalid_cgroup_option" in sentence
    assert sentence.startswith(f"mounts[{len(one.config['mounts']) - 1}]")


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime", "mand", "iversion", "silent"])
def test_flags_of_a_file_system_on_a_bind_mount(pyrun, bundle, option):
    """They can't take effect there, and a warning says so (the kernel, runc and crun ignore them)."""
    result = pyrun.run(bundle().mount("/tmp", "none", ".", "bind", option))
    assert result.code == 0
    assert "a bind mount doesn't change them" in result.err
