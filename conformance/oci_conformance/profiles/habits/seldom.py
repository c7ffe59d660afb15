"""What few rely on, where the peers agree: closed streams, descriptors by LISTEN_FDS, JSON by hand."""

from __future__ import annotations

import os

from oci_conformance.core.console import Console
from oci_conformance.profiles.habits import nested, tools
from oci_conformance.profiles.habits.tools import CGROUP_MOUNT
from oci_conformance.profiles.support.mounting import add, tmpfs
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test


@test("habits.closed-streams", needs=("program:sh",))
def closed(t: Case) -> None:
    """create with its three streams closed: the program's are character devices 1:3."""
    streams = ("fstat 0", "fstat 1", "fstat 2")
    container = t.prepare({}, "to /tmp/log", *streams)
    t.runtime.through = ("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-')
    tools.create(container)
    t.runtime.through = ()
    container.start()
    container.wait()
    log = container.rootfs / "tmp/log"
    text = log.read_text() if log.exists() else ""
    for each in streams:
        node = tools.result(text, each)
        number = [node.get("type"), node.get("major"), node.get("minor")] if isinstance(node, dict) else node
        t.equal("habits.closed-streams", number, ["char", 1, 3])


@test("habits.listen-fds", needs=("program:sh",))
def listen(t: Case) -> None:
    """The caller has descriptor 3 and LISTEN_FDS=1: so has the program, and LISTEN_PID=1."""
    container = t.prepare({}, "fds", "env")
    t.runtime.through = ("sh", "-c", 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<"$0"', str(t.program))
    tools.create(container)
    t.runtime.through = ()
    container.start()
    container.wait()
    numbers = sorted(each["fd"] for each in tools.result(container.stdout, "fds") or [])
    t.equal("habits.listen-fds", numbers, [0, 1, 2, 3])
    variables = tools.result(container.stdout, "env") or []
    seen = sorted(each for each in variables if each.startswith("LISTEN_"))
    t.equal("habits.listen-fds", seen, ["LISTEN_FDS=1", "LISTEN_PID=1"])


@test("habits.exec-created")
def exec_created(t: Case) -> None:
    """exec in a container that isn't started: its program runs."""
    call = tools.execute(t.create({}, "pause"), "cwd")
    t.equal("habits.exec-created", tools.result(call.stdout, "cwd") or call.sentence, "/")


@test("habits.exec-document-command")
def both(t: Case) -> None:
    """A document and a command: the document's program runs."""
    with tools.control(t):
        container = tools.paused(t)
        document = {**container.config["process"], "args": ["/probe", "echo of the document"]}
        call = tools.execute_document(container, document)
        if not call.ok:
            raise Refused(call)
    path = str(container.bundle / "process.json")
    call = t.runtime.command("exec", "--process", path, container.id, "/probe", "echo of the command")
    seen = tools.result(call.stdout, "echo of the document") or call.sentence
    t.equal("habits.exec-document-command", seen, "of the document")


@test("habits.dev-core")
def core(t: Case) -> None:
    """/dev/core leads to /proc/kcore, if there is such a file."""
    if not os.path.exists("/proc/kcore"):
        t.skip("this host lacks /proc/kcore")
    seen = t.run({}, "stat /dev/core").answer("stat /dev/core")
    t.equal("habits.dev-core", seen.get("result", {}).get("target", seen.get("errno")), "/proc/kcore")


@test("habits.copyup-root", needs=("root",))
def copy_up(t: Case) -> None:
    """A folder of user 7 and mode 0750 with a file, covered by a tmpfs with tmpcopyup: root's, 0750, with the file."""
    container = t.prepare(add(t, tmpfs("/copied", "tmpcopyup")), "stat /copied", "read /copied/name")
    folder = container.rootfs / "copied"
    folder.mkdir()
    (folder / "name").write_text("here")
    os.chown(folder, 7, 7)
    folder.chmod(0o750)
    container.create()
    container.start()
    container.wait()
    t.equal("habits.copyup-root", tools.result(container.stdout, "read /copied/name"), "here")
    status = tools.result(container.stdout, "stat /copied")
    t.equal("habits.copyup-root", (status["uid"], status["gid"], oct(status["mode"])), (0, 0, oct(0o750)))


@test("habits.pids-empty")
def pids_empty(t: Case) -> None:
    """pids: {}: the program runs, and can make processes."""
    t.equal("habits.pids-empty", t.run({"linux.resources.pids": {}}, "fork 3")["fork"]["made"], 3)


@test("habits.sysctl-hostname")
def hostname(t: Case) -> None:
    """kernel.hostname in a UTS namespace of its own: refused."""
    t.refused("habits.sysctl-hostname", {}, {"linux.sysctl": {"kernel.hostname": "other"}}, at="start")


@test("habits.json-unknown")
def unknown(t: Case) -> None:
    """A field that isn't the specification's in the configuration, its process and its linux object: it runs."""
    changes = {"x-field": {"a": [1]}, "process.xField": "x", "linux.x": None}
    t.equal("habits.json-unknown", t.run(changes, "cwd")["cwd"], "/")


@test("habits.console-socket-relative")
def relative_socket(t: Case) -> None:
    """--console-socket NAME from another folder: the terminal comes to NAME in the bundle."""
    container = t.prepare({"process.terminal": True}, "tty")
    assert container.console is not None
    container.console.close()
    elsewhere = t.folder / "elsewhere"
    elsewhere.mkdir()
    ours = Console(container.bundle / "c.sock")
    try:
        with tools.control(t):
            other = t.create({"process.terminal": True}, "tty")
            other.delete(force=True)
        tools.create(container, "--console-socket", "c.sock", cwd=elsewhere)
        t.check("habits.console-socket-relative", ours.receive(t.runtime.limit), "a terminal", "nothing came")
    finally:
        ours.close()


@test("habits.nested-cgroup", needs=("root", "userns", "cgroup-v2", "program:unshare"))
def cgroup_in_userns(t: Case) -> None:
    """A cgroup mount where the runtime was called by `unshare -Umr`: a cgroup's files are there."""
    call, said = nested.run(t, add(t, CGROUP_MOUNT), "list /sys/fs/cgroup")
    files = said.get("list /sys/fs/cgroup", {}).get("result", [])
    found = "cgroup.procs" in files
    t.check("habits.nested-cgroup", found, "cgroup.procs", files if call.ok else call.sentence)
