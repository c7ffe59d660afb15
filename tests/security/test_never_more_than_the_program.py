"""CVE-2019-5736 and CVE-2016-9962 for who has CAP_SYS_PTRACE, which looks into every process that it can see.

So no process may ever appear in a container's PID namespace that runs the runtime's file, that stands on another root,
or that may more than the container's own processes: what has all rights stays outside, and what is born inside has the
program's already.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import eventually, process_status

from pyrun.features.mounts import joined_procfs
from pyrun.kernel import mounts

pytestmark = pytest.mark.slow

CAP_SYS_ADMIN = 1 << 21


def everything_but(*names: str) -> list[str]:
    """Names of all system calls of this machine but these."""
    text = subprocess.run(
        ["gcc", "-E", "-dM", "-"],
        input="#include <sys/syscall.h>\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [
        line.split()[1].removeprefix("__NR_")
        for line in text.splitlines()
        if line.startswith("#define __NR_")
    ]
    return sorted(set(found) - set(names))


def engines_filter():
    """A profile as engines have it: what is allowed is named, and clone is by its flags."""
    flags = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules = [
        {"names": everything_but("clone", "acct"), "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]},
    ]
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}


TIMES = 60


@pytest.fixture(scope="session")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """watcher.c, compiled to a static program."""
    needs.program("gcc")
    path = tmp_path_factory.mktemp("watcher") / "watcher"
    source = Path(__file__).parent / "watcher.c"
    subprocess.run(
        ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(source)], check=True
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def attacker(pyrun, bundle, watcher):
    """A container whose program is the watcher, with CAP_SYS_PTRACE; call it to begin, and again for what was seen."""

    def begin(config):
        one = bundle({"root": {"readonly": False}, **config}).args("/watcher", "/seen", "/stop")
        one.rootfs.joinpath("watcher").write_bytes(watcher.read_bytes())
        one.rootfs.joinpath("watcher").chmod(0o755)
        for kind in ("bounding", "effective", "permitted"):
            one.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
        container = pyrun.start(one.write())
        eventually((one.rootfs / "seen").exists, "the watcher doesn't look")
        rights = int(process_status(container.pid)["CapBnd"], 16)

        def end():
            (one.rootfs / "stop").touch()
            container.wait()
            container.delete()
            return (one.rootfs / "seen").read_text().splitlines(), rights, one.rootfs.stat().st_ino

        return container, end

    return begin


def assert_never_more(lines, rights, root, programs):
    """What the watcher saw: only these programs, no capability beyond `rights`, no root but the container's."""
    assert {line for line in lines if line.startswith("exe ")} <= {f"exe {each}" for each in programs}, lines
    for line in lines:
        what, *words = line.split()
        if what == "caps":
            assert not [word for word in words[:3] if int(word, 16) & ~rights], (line, hex(rights))
        if what == "root":
            assert int(words[0]) == root, lines


STAGE_2 = "/memfd:pyrun-exec (deleted)"
CASES = ["no-new-privs", "privileges", "filter", "filter-and-privileges"]


@pytest.mark.parametrize("options", [(), ("--user", "user")], ids=["root", "user"])
@pytest.mark.parametrize("case", CASES)
def test_exec(pyrun, attacker, case, options):
    """Whatever exec's process is, from its birth in the container's PID namespace on."""
    config = {"process": {"noNewPrivileges": case in ("no-new-privs", "filter")}}
    if case.startswith("filter"):
        config["linux"] = {"seccomp": engines_filter()}
    container, end = attacker(config)
    for _ in range(TIMES):
        assert container.exec(("true",), *options).code == 0
    lines, rights, root = end()
    assert "exe /bin/busybox" in lines
    assert f"exe {STAGE_2}" in lines, "the watcher was too slow to see anything"
    assert_never_more(lines, rights, root, ["/bin/busybox", STAGE_2])


@pytest.fixture(params=["this-kernel", "before-6.17"])
def kernel(request, pyrun, before_6_17):
    """Whether this kernel can mount the procfs of a PID namespace from outside, or not."""
    if request.param == "before-6.17":
        pyrun.wrapper = [before_6_17]


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("case", CASES)
def test_create_in_its_pid_namespace(pyrun, bundle, attacker, case):
    """The same for another container that is created in the attacker's PID namespace, as in a pod, with a procfs,
    hooks of each kind and a program. Who opens that procfs in there, on a kernel that can't do it outside, has a user
    namespace of its own, one capability over it, and an empty root."""
    config = {"process": {"noNewPrivileges": case in ("no-new-privs", "filter")}}
    if case.startswith("filter"):
        config["linux"] = {"seccomp": engines_filter()}
    hostile, end = attacker(config)
    victim = bundle(config, sh="exec sleep 0.05")
    for kind in ("createRuntime", "createContainer", "startContainer"):
        victim.hook(kind, "true")
    victim.mount("/mnt", "tmpfs", "tmpfs", "silent")  # which a helper process of the runtime makes
    victim.namespace("pid", f"/proc/{hostile.pid}/ns/pid")
    for _ in range(TIMES // 3):
        assert pyrun.run(victim).code == 0
    lines, rights, _ = end()
    assert {line for line in lines if line.startswith("exe ")} <= {
        "exe /bin/busybox",
        "exe /memfd:pyrun-init (deleted)",
    }
    assert "exe /memfd:pyrun-init (deleted)" in lines, "the watcher was too slow to see anything"
    for line in lines:
        what, *words = line.split()
        if what == "caps":
            assert not [word for word in words[:3] if int(word, 16) & ~rights], (line, hex(rights))
        if what == "elsewhere":
            assert words[:3] == [f"{CAP_SYS_ADMIN:016x}"] * 2 + ["0" * 16], line
        if what == "root":
            assert words[0] == "empty" or int(words[0]) == victim.rootfs.stat().st_ino, lines


def test_what_is_no_procfs_is_not_mounted(pyrun):
    """Whoever may take over the process that opens the procfs could give the runtime something else: it looks first,
    and an option of that name doesn't deceive it."""
    assert pyrun
    contexts = {name: mounts.fsopen(name) for name in ("proc", "tmpfs", "sysfs", "overlay")}
    mounts_said = "e proc: Unknown parameter 'pyrun'"
    with pytest.raises(OSError, match="fsconfig"):
        mounts.fsconfig(contexts["tmpfs"], mounts.FSCONFIG_SET_FLAG, mounts_said)
    contexts["no context"] = os.open("/dev/null", os.O_RDONLY)
    contexts["words"] = os.memfd_create("words")
    os.write(contexts["words"], mounts_said.encode() + b"\n")
    os.lseek(contexts["words"], 0, os.SEEK_SET)
    found = {name for name, fd in contexts.items() if joined_procfs.is_procfs(fd)}
    for fd in contexts.values():
        os.close(fd)
    assert found == {"proc"}
