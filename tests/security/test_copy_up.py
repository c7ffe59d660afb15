"""tmpcopyup reads files of the image, or of a volume that another container shares, as root, into a tmpfs.

What is copied must be what it was when it was looked at: a device, a FIFO or a link put in a file's place in between
would be read as root: the host's disk, say, or without end.
"""

from __future__ import annotations

import os

import needs
import pytest
from hostile import Outside, swapping


@pytest.fixture
def outside(tmp_path):
    """A folder that must stay untouched."""
    one = Outside(tmp_path / "outside")
    yield one
    one.assert_untouched()


@pytest.fixture
def volume(tmp_path):
    """A folder shared by two containers."""
    path = tmp_path / "volume"
    (path / "data").mkdir(parents=True)
    return path


def copying(bundle, volume, script):
    """A bundle that has a tmpfs over the volume's folder, with a copy of what is in it."""
    one = bundle(sh=script)
    one.mount("/volume", "bind", str(volume), "rbind")
    return one.mount("/volume/data", "tmpfs", "tmpfs", "tmpcopyup", "size=1m")


def test_everything_is_copied_as_it_is(pyrun, bundle, outside, volume):
    """Links stay links, nodes nodes; nothing is followed."""
    needs.capability("CAP_MKNOD")
    data = volume / "data"
    (data / "file").write_text("text")
    (data / "folder").mkdir()
    (data / "link").symlink_to(outside.path / "file")
    (data / "folder/out").symlink_to(str(outside.path))
    os.mkfifo(data / "fifo")
    os.mknod(data / "zero", 0o020600, os.makedev(1, 5))
    one = copying(bundle, volume, "cd /volume/data; cat file; ls -l | sed 1d | cut -c1 | sort; readlink link")
    assert pyrun.output(one, time_limit=10).split() == [
        "text-",
        "c",
        "d",
        "l",
        "p",
        str(outside.path / "file"),
    ]


@pytest.mark.parametrize("kind", ["device", "fifo", "link", "folder"])
def test_a_file_is_swapped(pyrun, bundle, outside, volume, kind):
    """While a file is swapped for something else, nothing but its own text is ever in a copied file."""
    other = volume / "other"
    data = volume / "data"
    (data / "file").write_text("own text\n")
    if kind == "device":
        needs.capability("CAP_MKNOD")
        os.mknod(other, 0o020666, os.makedev(1, 5))  # /dev/zero: harmless, and without end
    elif kind == "fifo":
        os.mkfifo(other)
    elif kind == "link":
        other.symlink_to(outside.path / "file")
    else:
        other.mkdir()
    one = copying(
        bundle, volume, "test -f /volume/data/file && test ! -L /volume/data/file && cat /volume/data/file"
    )
    with swapping(data / "file", other):
        for _ in range(40):
            result = pyrun.run(one, time_limit=20)
            assert result.out in ("", "own text\n"), kind
            assert "internal" not in result.err
    outside.assert_untouched()
