"""Hosts that differ from this one: pure cgroup v2, an overlay as root file system, a bundle behind a link."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import eventually, processes_of
from cgroup_machine import ONLY_V2

from oci_spec import schema


@pytest.fixture
def only_v2(pyrun):
    """A view of this host that has nothing but cgroup v2."""
    needs.program("unshare", "mount")
    needs.filesystem("cgroup2")
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", ONLY_V2, "sh"]
    return pyrun


def v2_path(pid):
    """The v2 cgroup of a process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line.split(":", 2)[2] for line in lines if line.startswith("0::"))


def test_life_on_v2(only_v2, bundle):
    """The whole life cycle on a pure v2 host."""
    container = only_v2.create(bundle(sh="echo up; sleep 1000 & exec sleep 1000"))
    assert container.id in v2_path(container.pid)
    container.start()
    eventually(container.out, "not up")
    container.kill("KILL")
    container.wait()
    container.delete()
    only_v2.assert_gone(container.id)


def test_cgroup_mount_on_v2(only_v2, bundle):
    """The container sees its own cgroup2 as root, and can't write it if that is so configured."""
    one = bundle(sh="grep ' /sys/fs/cgroup ' /proc/mounts | cut -d' ' -f3; cat /sys/fs/cgroup/cgroup.procs; "
                 "cat /proc/self/cgroup | grep ^0; mkdir /sys/fs/cgroup/x 2>&1; true")  # fmt: skip
    lines = only_v2.output(one).splitlines()
    assert lines[0] == "cgroup2"
    assert "1" in lines
    assert "0::/" in lines
    assert "Read-only file system" in lines[-1]


def test_host_cgroup_namespace_on_v2(only_v2, bundle):
    """Without a cgroup namespace the whole hierarchy is mounted: the path in /proc/self/cgroup is found there."""
    one = bundle(
        sh='cd /sys/fs/cgroup/"$(grep ^0:: /proc/self/cgroup | cut -d: -f3)" && grep -c . cgroup.procs'
    )
    assert int(only_v2.output(one.namespace("cgroup", None))) > 0


@pytest.mark.parametrize("writable", [True, False])
def test_cgroup_of_a_user_on_v2(only_v2, bundle, writable):
    """The program's user may divide its cgroup if it has a namespace and a writable mount of it; what is below goes
    with the container."""
    one = bundle(sh="mkdir /sys/fs/cgroup/below && echo made || echo refused; sleep 1000").user_namespace()
    one.config["process"]["user"] = {"uid": 5, "gid": 5}
    mount = next(entry for entry in one.config["mounts"] if entry["destination"] == "/sys/fs/cgroup")
    mount["options"] = [option for option in mount["options"] if not (writable and option == "ro")]
    container = only_v2.start(one.write())
    eventually(container.out, "it said nothing")
    container.kill("KILL")
    container.wait()
    assert container.out().split() == ["made" if writable else "refused"]
    container.delete()
    only_v2.assert_gone(container.id)


@pytest.mark.parametrize("allowed", [True, False])
def test_device_rules_on_v2(only_v2, bundle, allowed):
    """Device rules are an eBPF program there, and do the same."""
    if "229 fuse" not in Path("/proc/misc").read_text():
        pytest.skip("needs the device 10:229 (FUSE), which this kernel lacks")
    node = {"type": "c", "major": 10, "minor": 229}
    rules = [
        {"allow": False, "access": "rwm"},
        *([{"allow": True, **node, "access": "r"}] if allowed else []),
    ]
    one = bundle({"linux": {"devices": [{"path": "/dev/node", **node}], "resources": {"devices": rules}}})
    result = only_v2.run(one.sh("echo x > /dev/null && head -c 0 /dev/node && echo opened"))
    assert (result.out == "opened\n") == allowed
    assert ("Operation not permitted" in result.err) != allowed


def test_without_pid_namespace_on_v2(only_v2, bundle):
    """delete kills what is left in the cgroup there, too."""
    container = only_v2.start(bundle(sh="sleep 1000 & exit 0").namespace("pid", None))
    container.wait()
    container.delete()
    assert not list(processes_of([container.id]))


def test_overlay_root(pyrun, bundle):
    """A root file system that is an overlay, as engines make it, is written in its upper layer."""
    needs.filesystem("overlay")
    needs.program("unshare", "mount")
    one = bundle(
        {"root": {"path": "merged", "readonly": False}}, sh="echo new > /file; mkdir -p /a/b; ls /bin/sh"
    )
    for name in ("merged", "layers"):
        (one.path / name).mkdir()
    script = (
        'cd "$0" && mount -t tmpfs x layers && mkdir layers/upper layers/work'
        " && mount -t overlay -o lowerdir=rootfs,upperdir=layers/upper,workdir=layers/work x merged"
        ' && "$@"; status=$?; cat layers/upper/file; exit $status'
    )
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", script, str(one.path)]
    assert pyrun.output(one.mount("/made/here", "tmpfs", "tmpfs")).split() == ["/bin/sh", "new"]
    assert not (one.rootfs / "file").exists()


def test_bundle_behind_a_link(pyrun, bundle):
    """A bundle that is named by a symbolic link works, and the state has the name that was given."""
    one = bundle(sh="echo here")
    link = one.path.with_name("link")
    link.symlink_to(one.path)
    container_id = pyrun.id()
    pyrun.ok("create", "--bundle", str(link), container_id)
    assert pyrun.state(container_id)["bundle"] == str(link)


def test_odd_names(pyrun, bundle):
    """Blanks, quotes, newlines and letters of all kinds in paths are just letters."""
    one = bundle(sh="ls /data")
    odd = one.path.with_name("a b\n'\"\\ %s ä€😀:,")
    one.path.rename(odd)
    one.path = odd
    (odd / "da,ta:\\ x").mkdir()
    (odd / "da,ta:\\ x/file").touch()
    assert pyrun.output(one.mount("/data", "none", "da,ta:\\ x", "bind")) == "file\n"


@pytest.mark.parametrize("status", ["created", "running", "stopped"])
def test_state_fits_its_schema(pyrun, bundle, status):
    """What `state` prints is what the specification's schema wants."""
    jsonschema = pytest.importorskip("jsonschema")
    container = pyrun.create(bundle({"annotations": {"a.b": "c"}}).args("sleep", "1000"))
    if status != "created":
        container.start()
    if status == "stopped":
        container.kill("KILL")
        container.wait()
    assert container.status == status
    jsonschema.validate(container.state(), schema.schema("state"))


@pytest.mark.parametrize("option", [(), ("--no-subreaper",)])
def test_subreaper(pyrun, bundle, option):
    """Orphans of a container without a pid namespace become children of `run`, unless it is told not to."""
    one = bundle(sh="sh -c 'sleep 1000 & echo $!'; exec sleep 1000").namespace("pid", None)
    container = pyrun.popen_run(one, *option)
    container.until("\n")
    pid = int(container.out())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert (int(fields[1]) == container.process.pid) == (not option)
    container.kill("KILL")
    assert container.end() == 137


def test_created_container_whose_process_is_killed(pyrun, bundle):
    """A created container whose process dies from outside is stopped, and can be deleted."""
    container = pyrun.create(bundle())
    os.kill(container.pid, 9)
    container.wait()
    assert "stopped" in pyrun.error("start", container.id)
    container.delete()
    pyrun.assert_gone(container.id)


IN_CHROOT = """
[ "$1" = plain ] || mount --bind "$0" "$0" || exit 99
for folder in proc sys dev; do mount --rbind "/$folder" "$0/$folder" || exit 99; done
exec chroot "$0" /runtime --root /pyrun/root run --bundle "/$2" "$3"
"""


@pytest.mark.parametrize("kind", ["plain", "mount-point"])
def test_called_in_a_chroot(pyrun, bundle, tmp_path, kind):
    """Where the root directory is a mount point containers run; where it isn't, as in a plain chroot, none can, with
    any runtime, and the sentence says so."""
    if b"/ld-linux" in pyrun.runtime.read_bytes()[:4096]:
        pytest.skip("needs a static binary")
    one = bundle(sh="echo $$")
    shutil.copy(pyrun.runtime, tmp_path / "runtime")
    for folder in ("proc", "sys", "dev"):
        (tmp_path / folder).mkdir()
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_CHROOT]
    argv += [str(tmp_path), kind, one.path.name, pyrun.id()]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if kind == "mount-point":
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "is not a mount point, as in a plain chroot" in done.stderr
        assert done.stderr.count("\n") == 1
