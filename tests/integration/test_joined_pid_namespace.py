"""A container in a PID namespace that is joined: what it sees of itself, and what others see of it."""

from __future__ import annotations

import json
import os
import subprocess

import needs
import pytest
from bundles import process_status, wait_for_file


@pytest.fixture(params=["this-kernel", "before-6.17"])
def pod(pyrun, bundle, before_6_17, request):
    """A container, and a function that makes bundles whose PID namespace is that container's; on this kernel, and on
    one that can't mount the procfs of that namespace from outside."""
    if request.param == "before-6.17":
        pyrun.wrapper = [before_6_17]
    first = pyrun.start(bundle().args("sleep", "1000"))

    def make(*arguments, **more):
        return bundle(*arguments, **more).namespace("pid", f"/proc/{first.pid}/ns/pid")

    make.first = first
    return make


def test_procfs_is_that_of_the_namespace(pyrun, pod):
    """Its /proc has the processes of the namespace, and /proc/self is the program's own number in it."""
    script = (
        "read -r name < /proc/1/comm; echo $name; test -d /proc/$$ && echo mine; readlink /proc/self/ns/pid"
    )
    inside = os.readlink(f"/proc/{pod.first.pid}/ns/pid")
    assert pyrun.output(pod(sh=script)).splitlines() == ["sleep", "mine", inside]


def test_with_mount_options(pyrun, pod):
    """Options of the procfs count as everywhere, those of mount(2) too."""
    for options in (["hidepid=invisible"], ["silent"], ["nosuid", "noexec", "nodev"]):
        one = pod(sh="read -r name < /proc/1/comm; echo $name")
        for entry in one.config["mounts"]:
            if entry["destination"] == "/proc":
                entry["options"] = options
        assert pyrun.output(one.write()) == "sleep\n", options


def test_several_procfs(pyrun, pod):
    """Each procfs of a container is one of its own, with the options that it has."""
    one = pod(sh="grep ' - proc ' /proc/self/mountinfo | cut -d' ' -f5,10-; cat /mnt/1/comm /tmp/1/comm")
    one.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    one.mount("/mnt", "proc", "proc", "hidepid=2").mount("/tmp", "proc", "proc", "subset=pid")
    lines = pyrun.output(one.write()).splitlines()
    found = {line.split()[0]: line.rpartition("rw")[2].strip(",") for line in lines[:3]}
    assert found == {"/proc": "", "/mnt": "hidepid=invisible", "/tmp": "subset=pid"}
    assert lines[3:] == ["sleep", "sleep"]


def test_pid_is_known(pyrun, pod, tmp_path):
    """State, pid file and namespace are of the process that will be the program."""
    pid_file = tmp_path / "pid"
    container = pyrun.create(pod(sh="exec sleep 1000"), "--pid-file", str(pid_file))
    assert int(pid_file.read_text()) == container.pid
    assert os.readlink(f"/proc/{container.pid}/ns/pid") == os.readlink(f"/proc/{pod.first.pid}/ns/pid")
    assert process_status(container.pid)["NSpid"].split()[0] == str(container.pid)
    assert container.status == "created"
    container.start()
    assert container.status == "running"
    container.kill("KILL")
    container.wait()


def test_pid_is_told(pyrun, pod, tmp_path):
    """A startContainer hook has the number in the namespace, hooks of the runtime the host's."""
    one = pod({"root": {"readonly": False}}).args("sleep", "1000")
    one.hook("startContainer", "cat > /state; grep NSpid /proc/$PPID/status > /real")
    one.hook("createRuntime", f"cat > {tmp_path}/runtime")
    container = pyrun.start(one.write())
    state, earlier = (json.loads(path.read_text()) for path in (one.rootfs / "state", tmp_path / "runtime"))
    assert str(state.pop("pid")) == (one.rootfs / "real").read_text().split()[1]
    assert earlier.pop("pid") > 0
    assert state == {**earlier, "status": "created"}
    container.delete("--force")


def test_listen_pid(pyrun, pod):
    """$LISTEN_PID is the program's number in the namespace."""
    one = pod(sh='test "$LISTEN_PID" = "$$" && echo mine')
    kernel = pyrun.wrapper
    pyrun.wrapper = [*kernel, "sh", "-c", 'exec "$@" 3>/dev/null', "sh"]
    assert pyrun.output(one, env={"PATH": os.environ["PATH"], "LISTEN_FDS": "1"}) == "mine\n"
    pyrun.wrapper = kernel


def test_a_limit_of_one_process(pyrun, pod):
    """pids.limit 1 is enough for a program that has no children."""
    one = pod({"linux": {"resources": {"pids": {"limit": 1}}}}).args("echo", "ran")
    assert pyrun.output(one) == "ran\n"


def test_terminal(pyrun, pod):
    """A terminal is the program's controlling one."""
    one = pod({"process": {"terminal": True}}, sh="exec 3<>/dev/tty && echo controlling > /mark; sleep 0.1")
    one.config["root"]["readonly"] = False
    needs.program("script")
    name = pyrun.id()
    command = (
        f"{' '.join(pyrun.wrapper)} {pyrun.runtime} --root {pyrun.root} run -b {one.write().path} {name}"
    )
    subprocess.run(
        ["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    assert wait_for_file(one.rootfs / "mark") == "controlling\n"
