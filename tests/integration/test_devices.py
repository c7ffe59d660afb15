"""Devices, their modes and owners, the links of /dev, masked and read-only paths (config-linux.md)."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import needs
import pytest

DEFAULT = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}


def test_default_devices(pyrun, bundle):
    """/dev/null, zero, full, random, urandom and tty are there, open to all, and work."""
    names = " ".join(DEFAULT)
    text = pyrun.output(
        bundle(
            sh=f"cd /dev; stat -c '%n %t:%T %a %u %F' {names}; echo x > null; "
            "head -c 5 zero | wc -c; head -c 4 urandom | wc -c; echo x 2>/dev/null > full || echo full"
        )
    )
    *lines, zero, random, full = text.splitlines()
    assert lines == [f"{name} {number} 666 0 character special file" for name, number in DEFAULT.items()]
    assert (zero, random, full) == ("5", "4", "full")


def test_links(pyrun, bundle):
    """/dev/fd, stdin, stdout, stderr and ptmx are the links that the specification wants."""
    text = pyrun.output(bundle(sh="cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done"))
    assert text.split() == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
    ]


def test_image_files_in_place_of_links_stay(pyrun, bundle):
    """A link that leads elsewhere and a file at the links' names stay, as with runc and crun; ptmx is always ours."""
    one = bundle(sh="readlink /dev/fd; cat /dev/stdin; readlink /dev/stdout; readlink /dev/ptmx")
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/dev"]
    one.config["root"]["readonly"] = False
    (one.rootfs / "dev").mkdir(exist_ok=True)
    (one.rootfs / "dev/fd").symlink_to("elsewhere")
    (one.rootfs / "dev/stdin").write_text("mine\n")
    (one.rootfs / "dev/ptmx").symlink_to("elsewhere")
    shown = pyrun.output(one.write()).split()
    assert shown == ["elsewhere", "mine", "/proc/self/fd/1", "pts/ptmx"]


def test_no_links_without_proc(pyrun, bundle):
    """Without /proc there is nothing to link to, and no failure."""
    one = bundle(sh="ls /dev")
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] == "/dev"]
    assert pyrun.output(one.write()).split() == sorted(DEFAULT)


def test_bound_dev_is_left_alone(pyrun, bundle):
    """A /dev that is a bind mount is the caller's: nothing is made in it."""
    one = bundle(sh="ls /dev")
    (one.path / "mydev").mkdir()
    (one.path / "mydev/file").touch()
    one.config["mounts"] = [
        mount for mount in one.config["mounts"] if not mount["destination"].startswith("/dev")
    ]
    assert pyrun.output(one.mount("/dev", "none", "mydev", "bind")) == "file\n"
    assert os.listdir(one.path / "mydev") == ["file"]


def device(path, kind="c", major=1, minor=3, **more):
    """An entry of linux.devices."""
    entry = {"path": path, "type": kind, **more}
    if kind != "p":
        entry |= {"major": major, "minor": minor}
    return entry


CASES = [
    (device("/dev/char"), "character special file 1:3 666 0 0"),
    (device("/dev/unbuffered", "u"), "character special file 1:3 666 0 0"),
    (device("/dev/block", "b", 7, 0), "block special file 7:0 666 0 0"),
    (device("/dev/fifo", "p"), "fifo 0:0 666 0 0"),
    (device("/dev/mode", fileMode=0o640), "character special file 1:3 640 0 0"),
    (device("/dev/mode0", fileMode=0), "character special file 1:3 0 0 0"),
    (device("/dev/owner", uid=1000, gid=1001), "character special file 1:3 666 1000 1001"),
    (device("/dev/sub/folder/x", fileMode=0o600, uid=5), "character special file 1:3 600 5 0"),
    (device("/run/outside"), "character special file 1:3 666 0 0"),
    (device("/new/folder/x", "p", fileMode=0o622), "fifo 0:0 622 0 0"),
    (device("/dev/big", "c", 4095, 1048575), "character special file fff:fffff 666 0 0"),
]


def in_user_namespace(one, *folders):
    """Give a bundle a user namespace, and its root these folders of the root file system."""
    needs.user_namespaces()
    needs.capability("CAP_MKNOD")
    one.config["process"]["rlimits"] = None
    one.user_namespace()
    for folder in folders:
        os.chown(one.rootfs / folder, 100000, 100000)
    return one


@pytest.mark.parametrize("case", range(len(CASES)))
def test_device(pyrun, bundle, case):
    """A listed device is there, with its type, number, mode and owner, wherever its path is."""
    entry, wanted = CASES[case]
    one = bundle({"linux": {"devices": [entry]}}, sh=f"stat -c '%F %t:%T %a %u %g' {entry['path']}")
    assert pyrun.output(one) == wanted + "\n"


def test_mode_with_type_bits(pyrun, bundle):
    """A fileMode that has the type's bits, as some engines send it, means its permissions."""
    one = bundle({"linux": {"devices": [device("/dev/x", fileMode=0o20640)]}}, sh="stat -c %a /dev/x")
    assert pyrun.output(one) == "640\n"


def test_same_device_is_there(pyrun, bundle):
    """The same device at the path is fine."""
    one = bundle(
        {"linux": {"devices": [device("/other/x"), device("/dev/null")]}}, sh="stat -c %t:%T /other/x"
    )
    (one.rootfs / "other").mkdir()
    os.mknod(one.rootfs / "other/x", 0o20600, os.makedev(1, 3))
    assert pyrun.output(one) == "1:3\n"


def test_device_path_through_link(pyrun, bundle):
    """A link on the way is followed inside the root."""
    one = bundle({"linux": {"devices": [device("/link/x")]}}, sh="stat -c %F /target/x")
    (one.rootfs / "link").symlink_to("../../../../target")
    assert pyrun.output(one) == "character special file\n"


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "/dev/x", "type": "c"},
        {"path": "/dev/x", "type": "z", "major": 1, "minor": 3},
        {"path": "dev/x", "type": "p"},
    ],
)
def test_bad_device(pyrun, bundle, entry):
    """A device without its numbers, of no known type, or with a relative path is refused."""
    assert pyrun.refused(bundle({"linux": {"devices": [entry]}})).startswith("linux.devices[0]")


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_image_has_something_at_dev_null(pyrun, bundle, what):
    """What an image has at a default device's path doesn't take its place."""
    one = bundle(sh="echo secret > /dev/null; stat -c '%F %t:%T' /dev/null")
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/dev"]
    place = one.rootfs / "dev/null"
    outside = one.path / "outside"
    outside.write_text("")
    if what == "file":
        place.touch()
    elif what == "link":
        place.symlink_to(outside)
    else:
        place.mkdir()
    result = pyrun.run(one)
    assert outside.read_text() == ""
    if result.code == 0:
        assert result.out == "character special file 1:3\n"
    else:
        assert "/dev/null" in result.err
        assert result.out == ""


# masked and read-only paths


def test_masked_folder(pyrun, bundle):
    """A masked folder shows nothing, also to one who has all rights over files, and can't be written."""
    caps = {key: ["CAP_DAC_OVERRIDE"] for key in ("bounding", "permitted", "effective")}
    one = bundle(
        {"linux": {"maskedPaths": ["/secret"]}, "process": {"capabilities": caps}},
        sh="ls /secret; touch /secret/x 2>&1",
    )
    (one.rootfs / "secret/deep").mkdir(parents=True)
    one.config["root"]["readonly"] = False
    result = pyrun.run(one.write())
    assert result.out == "touch: /secret/x: Read-only file system\n"


def test_masked_missing(pyrun, bundle):
    """Paths to mask or to make read-only that don't exist are no error."""
    missing = ["/no/such", "/etc/passwd/below", "/proc/no-such"]
    pyrun.output(bundle({"linux": {"maskedPaths": missing, "readonlyPaths": missing}}))


def test_default_masks(pyrun, bundle):
    """The default configuration hides what it lists."""
    text = pyrun.output(
        bundle(
            sh="for f in keys kcore timer_list interrupts; do [ -e /proc/$f ] && cat /proc/$f; done; "
            "ls /sys/firmware 2>/dev/null; true"
        )
    )
    assert text == ""


def test_default_readonly_paths(pyrun, bundle):
    """/proc/sys and its like can't be written by root."""
    # opened for writing, and nothing written: a hole would lead to the host
    script = (
        "for f in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity; do (: >> $f) 2>&1; done; true"
    )
    assert pyrun.output(bundle(sh=script)).count("Read-only file system") == 2


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_relative_masks(pyrun, bundle, kind):
    """A relative path is refused."""
    assert pyrun.refused(bundle({"linux": {kind: ["proc/keys"]}})).startswith(f"linux.{kind}[0]: ")


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_mask_through_link(pyrun, bundle, kind):
    """A path that is a link is resolved in the container, never on the host."""
    one = bundle(
        {"linux": {kind: ["/link"]}, "root": {"readonly": False}},
        sh="cat /target; (echo x > /target) 2>/dev/null; cat /target",
    )
    (one.rootfs / "target").write_text("text\n")
    (one.rootfs / "link").symlink_to("../../../../target")
    assert pyrun.output(one) == ("" if kind == "maskedPaths" else "text\ntext\n")
    assert (one.rootfs / "target").read_text() == "text\n"


@pytest.mark.parametrize("path", ["/proc/keys", "/etc/masked"])
def test_container_cannot_change_the_hosts_null(pyrun, bundle, path):
    """A container's root with all rights can't change the mode of the host's /dev/null through a masked file."""
    caps = {kind: ["CAP_FOWNER", "CAP_CHOWN"] for kind in ("bounding", "permitted", "effective")}
    # to what it is already: if there is a hole, nothing goes through it
    mode = oct(os.stat("/dev/null").st_mode & 0o7777)[2:]
    one = bundle(
        {"process": {"capabilities": caps}}, sh=f"chmod {mode} {path} 2>&1; chown 0:0 {path} 2>&1; true"
    )
    (one.rootfs / "etc/masked").touch()
    one.config["linux"]["maskedPaths"].append("/etc/masked")
    one.config["root"]["readonly"] = False
    assert pyrun.output(one.write()).count("Read-only file system") == 2


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_masked_path_named_twice_is_covered_once(pyrun, bundle, kind):
    """It is covered once."""
    one = bundle({"linux": {kind: ["/etc/passwd"] * 3}}, sh="grep -c ' /etc/passwd ' /proc/self/mountinfo")
    assert pyrun.output(one) == "1\n"


@pytest.mark.slow
def test_very_many_masks(pyrun, bundle):
    """Files are masked in a time that grows as their number does."""
    one = bundle()
    (one.rootfs / "many").mkdir()
    for index in range(20000):
        (one.rootfs / f"many/{index}").touch()
    taken = {}
    for many in (2000, 20000):
        one.config["linux"]["maskedPaths"] = [f"/many/{index}" for index in range(many)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        pyrun.output(one.write())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken[many] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert taken[20000] < 40 * taken[2000] + 1, taken


@pytest.mark.slow
def test_very_many_read_only_paths(pyrun, bundle):
    """Each costs the more, the more there are: beyond 10,000 they are refused with that limit."""
    one = bundle(sh="(echo > /many/9999) 2>&1; true")
    (one.rootfs / "many").mkdir()
    for index in range(10001):
        (one.rootfs / f"many/{index}").touch()
    one.config["linux"]["readonlyPaths"] = [f"/many/{index}" for index in range(10000)]
    assert "Read-only file system" in pyrun.output(one.write())
    one.config["linux"]["readonlyPaths"].append("/many/10000")
    assert "10000" in pyrun.refused(one.write())


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_very_many_paths_that_are_missing(pyrun, bundle, kind):
    """Those that don't exist count for nothing."""
    pyrun.output(bundle({"linux": {kind: [f"/missing/{index}" for index in range(100000)]}}))


@pytest.mark.slow
def test_more_than_the_kernel_allows(pyrun, bundle):
    """Too many masks are refused with the limit's name."""
    needs.program("unshare", "mount")
    limit = int(Path("/proc/sys/fs/mount-max").read_text())
    if limit > 200000:
        pytest.skip(f"needs a limit of mounts that is reached soon: fs.mount-max is {limit}")
    one = bundle()
    (one.rootfs / "many").mkdir()
    for index in range(1000):
        (one.rootfs / f"many/{index}").touch()
    one.config["linux"]["maskedPaths"] = [
        f"/many/{'./' * (index // 1000)}{index % 1000}" for index in range(limit)
    ]
    assert "fs.mount-max" in pyrun.refused(one.write())


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("path", ["/", "//", "/.", "/.."])
def test_root_as_masked_path(pyrun, bundle, kind, path):
    """The root itself can't be masked, nor covered read-only: it would have no effect, so it is refused."""
    assert pyrun.refused(bundle({"linux": {kind: [path]}})).startswith(f"linux.{kind}[0]: ")
