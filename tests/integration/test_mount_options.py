"""Mount options beyond what oci-conformance shows of each: defaults, remounts, errors, and what fsconfig can't take."""

from __future__ import annotations

from dataclasses import dataclass, field

import needs
import pytest


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


def test_slave_is_the_default_for_bind_mounts(pyrun, tree):
    """A bind mount of a shared mount hears of the host's new mounts, and tells nothing back."""
    pyrun.wrapper[2:2] = ["--propagation", "shared"]
    tree.mount("/default", "none", "tree", "rbind").mount("/slave", "none", "tree", "rbind", "rslave")
    found = mounts_of(pyrun, tree)
    for path in ("/default", "/slave", "/slave/sub"):
        assert [tag.split(":")[0] for tag in found[path].tags] == ["master"], path


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
