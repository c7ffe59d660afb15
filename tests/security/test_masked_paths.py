"""CVE-2025-31133: masking by the container's own /dev/null, which an image can make a link or a file of its choice.

What covers a masked file here is the host's null device, opened and checked before the image is seen; what covers a
folder is an empty file system. The cover is read-only: who is root inside must not change the host's device node.
"""

from __future__ import annotations

import os

import pytest
from hostile import Outside

MASKED = [
    "/proc/keys",
    "/proc/timer_list",
    "/file",
    "/folder",
    "/linked",
    "/missing",
    "/file/below",
    "/proc/sys",
]
LOOK = """
grep -E ' /(proc/keys|file|folder|target|proc/sys) ' /proc/self/mountinfo
ls /folder /proc/sys 2>/dev/null
cat /file /linked
"""


@pytest.fixture
def masked(bundle):
    """A bundle whose image has its own idea of /dev/null."""
    one = bundle({"linux": {"maskedPaths": MASKED, "readonlyPaths": []}}, sh=LOOK)
    for name in ("file", "target"):
        (one.rootfs / name).write_text("secret\n")
    (one.rootfs / "folder").mkdir()
    (one.rootfs / "folder/secret").write_text("secret\n")
    (one.rootfs / "linked").symlink_to("target")
    return one


def covers(text: str) -> dict[str, tuple[str, str, str]]:
    """Mount point to (root, options, type) in the lines of a mountinfo file."""
    found = {}
    for line in text.splitlines():
        if " - " in line:
            fields = line.split()
            found[fields[4]] = (fields[3], fields[5], line.partition(" - ")[2].split()[0])
    return found


@pytest.mark.parametrize("fake", ["none", "file", "link", "link outside", "fifo"])
def test_the_cover_is_the_real_null(pyrun, masked, tmp_path, fake):
    """Whatever the image has at /dev/null, each path is covered by the host's device, or by nothing but emptiness."""
    outside = Outside(tmp_path / "outside")
    null = masked.rootfs / "dev/null"
    if fake != "none":
        masked.config["mounts"] = [
            m for m in masked.config["mounts"] if not m["destination"].startswith("/dev")
        ]
        masked.write()
    if fake == "file":
        null.write_text("secret")
    elif fake == "fifo":
        os.mkfifo(null)
    elif fake != "none":
        null.symlink_to("/target" if fake == "link" else str(outside.path / "file"))
    out = pyrun.output(masked)
    assert "secret" not in out
    found = covers(out)
    for path in ("/proc/keys", "/file", "/target"):
        root, options, kind = found[path]
        assert root == "/null", path
        assert kind in ("devtmpfs", "tmpfs")
        assert "ro" in options.split(",")
    for path in ("/folder", "/proc/sys"):
        assert found[path][2] == "tmpfs"
        assert "ro" in found[path][1].split(",")
    outside.assert_untouched()


def test_the_image_is_not_read_through_masks(pyrun, bundle, tmp_path):
    """A masked path that leads out by a link covers what is inside the root; a magic link is an error."""
    outside = Outside(tmp_path / "outside")
    one = bundle({"linux": {"maskedPaths": ["/out/file"], "readonlyPaths": ["/out/folder"]}})
    (one.rootfs / "out").symlink_to("../" * 20 + str(outside.path)[1:])
    assert pyrun.run(one).code == 0
    outside.assert_untouched()
    magic = bundle({"linux": {"maskedPaths": ["/magic/etc/passwd"]}})
    (magic.rootfs / "magic").symlink_to("/proc/self/root")
    assert "linux.maskedPaths[0]" in pyrun.refused(magic)


def test_default_config_masks_what_engines_mask(bundle):
    """`pyrun spec` hides what tells about, or changes, the host."""
    linux = bundle().config["linux"]
    wanted = "/proc/acpi /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/scsi /sys/firmware".split()
    assert not set(wanted) - set(linux["maskedPaths"])
    assert not {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} - set(
        linux["readonlyPaths"]
    )
