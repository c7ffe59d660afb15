"""Kubernetes' side of containerd: pods and their containers, asked for over gRPC as kubelet does it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import cri
from .behaviour import PRIVILEGED, cgroup_file, is_privileged, status_field
from .engine import write_wrapper
from .image import NO_PROGRAM, docker_archive
from .pods import IMAGE, Node, Pod
from .private_host import PrivateHost, need, wait_until
from .refusals import STARTS, left, nothing_is_left

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
INSTALLED = "/usr/local/bin/pyrun"  # the path that the files under contrib/ name
PAUSE = "docker.io/library/pause:latest"
PAUSE_PROGRAM = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
PLUGINS = "/usr/lib/cni"  # of Debian's containernetworking-plugins
# For a test machine: images and networks of our own; the score can't be lowered without CAP_SYS_RESOURCE.
EXTRA = f"""
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "FOLDER/cni"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}}],
}
SOCKET = "/run/containerd.sock"


def runtime_handler() -> str:
    """The handler that contrib's RuntimeClass names."""
    text = (CONTRIB / "kubernetes/runtimeclass.yaml").read_text()
    found = re.search(r"^handler: (\S+)$", text, re.MULTILINE)
    assert found
    return found.group(1)


@pytest.fixture(scope="module")
def node(tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """containerd with contrib's config.toml, in which only the runtime's path is changed, and EXTRA."""
    need("containerd", "ctr", "ip")
    cri.grpc()
    for plugin in ("loopback", "ptp", "host-local"):
        if not os.access(f"{PLUGINS}/{plugin}", os.X_OK):
            pytest.skip(f"needs the CNI plugin {plugin} (Debian: containernetworking-plugins): not installed")
    folder = tmp_path_factory.mktemp("cri")
    wrapper, log = write_wrapper(folder, tested_runtime)
    configuration = (CONTRIB / "containerd/config.toml").read_text().replace(INSTALLED, str(wrapper))
    configuration = configuration.replace(".containerd]", '.containerd]\n  snapshotter = "native"')
    (folder / "config.toml").write_text(configuration + EXTRA.replace("FOLDER", str(folder)))
    (folder / "cni").mkdir()
    (folder / "cni/10-pods.conflist").write_text(json.dumps(NETWORK))
    (folder / "image.tar").write_bytes(docker_archive(image, IMAGE))
    (folder / "pause.tar").write_bytes(docker_archive(image, PAUSE, PAUSE_PROGRAM))
    host = PrivateHost(f"pyrun-test-cri-{os.getpid()}", network=True)
    try:
        host.start_daemon(
            "containerd",
            "--config",
            str(folder / "config.toml"),
            "--root",
            "/var/lib/data",
            "--state",
            "/run/state",
            "--address",
            SOCKET,
            log=folder / "containerd.log",
        )
        ctr = ("ctr", "--address", SOCKET, "--namespace", "k8s.io")
        wait_until((*ctr, "version"), host)
        for file in ("image.tar", "pause.tar"):
            done = host.run(*ctr, "image", "import", "--snapshotter", "native", str(folder / file))
            assert done.returncode == 0, done.stderr
        client = cri.Client(str(host.path(SOCKET)))
        yield Node(host, client, runtime_handler(), log)
        client.close()
    finally:
        host.close()


@pytest.fixture(scope="module")
def pod(node: Node) -> Iterator[Pod]:
    """A pod that tests may share."""
    with node.pod() as pod:
        yield pod


def test_the_pod_has_an_address(node: Node, pod: Pod) -> None:
    """CNI put a device with an address into the sandbox's network namespace."""
    assert node.call("Version")["runtime_name"] == "containerd"
    address = node.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]["network"]["ip"]
    assert address.startswith("10.77.0.")
    container = pod.start("address", "sleep", "1000")
    assert f"inet {address}/" in pod.output(container, "ip", "address", "show", "eth0")


def test_the_tested_runtime_was_called(node: Node) -> None:
    """For the sandbox, the container and the exec; the log shows each one's whole life."""
    node.runtime_log.write_text("")
    with node.pod() as pod:
        container = pod.start("called", "sleep", "1000")
        assert pod.output(container, "echo", "hello") == "hello"
    calls = node.runtime_log.read_text()
    for identity in (pod.id, container):
        assert re.search(f"create --bundle .* {identity}$", calls, re.MULTILINE)
        assert f"start {identity}\n" in calls
        assert re.search(f"delete {identity}$", calls, re.MULTILINE)
    assert re.search(f"exec --process .* {container}$", calls, re.MULTILINE)


def test_life_of_a_container(pod: Pod) -> None:
    """Created, running, stopped by SIGTERM, removed; its log has both streams."""
    script = "trap 'echo bye; exit 3' TERM; echo problem >&2; echo started; while :; do sleep 0.05; done"
    container = pod.create("life", "sh", "-c", script)
    assert pod.status(container)["state"] == cri.CREATED
    pod.node.call("StartContainer", container_id=container)
    assert pod.status(container)["state"] == cri.RUNNING
    pod.wait_for_log("life", "problem", "stderr")
    pod.wait_for_log("life", "started")
    before = time.monotonic()
    pod.node.call("StopContainer", container_id=container, timeout=10)
    assert time.monotonic() - before < 8, "SIGTERM wasn't handled, the stop waited for its time-out"
    status = pod.wait(container)
    assert (status["exit_code"], status["reason"]) == (3, "Error")
    pod.wait_for_log("life", "bye")
    assert sorted(pod.log("life")) == [("stderr", "problem"), ("stdout", "bye"), ("stdout", "started")]
    pod.node.call("RemoveContainer", container_id=container)
    with pytest.raises(cri.Refused, match="not found"):
        pod.status(container)


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (42, "Error")])
def test_exit_code(pod: Pod, code: int, reason: str) -> None:
    status = pod.wait(pod.start(f"exit{code}", "sh", "-c", f"exit {code}"))
    assert (status["exit_code"], status["reason"]) == (code, reason)


def test_a_stop_kills_what_ignores_sigterm(pod: Pod) -> None:
    container = pod.start("stubborn", "sh", "-c", "trap '' TERM; echo started; while :; do sleep 0.05; done")
    pod.wait_for_log("stubborn", "started")
    pod.node.call("StopContainer", container_id=container, timeout=1)
    assert pod.wait(container)["exit_code"] == 137


def test_exec_sync(pod: Pod) -> None:
    """Streams apart, the exit code, the configured environment, and a time-out that ends the command."""
    container = pod.start("exec", "sleep", "1000", envs=[{"key": "GREETING", "value": "hello there"}])
    script = "echo $GREETING; echo problem >&2; exit 7"
    assert pod.execute(container, "sh", "-c", script) == ("hello there\n", "problem\n", 7)
    with pytest.raises(cri.Refused, match=r"timeout|deadline"):
        pod.execute(container, "sleep", "777", timeout=1)
    assert "sleep 777" not in pod.output(container, "ps")
    with pytest.raises(cri.Refused, match=r"executable file .*not found"):
        pod.execute(container, "not-there")


def test_a_missing_program_is_named(pod: Pod) -> None:
    container = pod.create("missing", "not-there")
    with pytest.raises(cri.Refused, match=r"not-there.*executable file .*not found"):
        pod.node.call("StartContainer", container_id=container)
    status = pod.status(container)
    assert (status["state"], status["reason"]) == (cri.EXITED, "StartError")
    assert status["exit_code"] == 128  # containerd's number for it


def test_a_privileged_pod(node: Node) -> None:
    """As kube-proxy, CNI and CSI plugins have it: every device of the host, nothing masked or read-only."""
    options = {"network": cri.POD, "pid": cri.CONTAINER, "ipc": cri.POD}
    with node.pod(security_context={"namespace_options": options, "privileged": True}) as pod:
        container = pod.start("privileged", "sleep", "1000")
        is_privileged(pod.output(container, "sh", "-c", PRIVILEGED))


@pytest.mark.parametrize("processes", [cri.CONTAINER, cri.POD], ids=["own PIDs", "the pod's PIDs"])
def test_failing_starts_leave_nothing(node: Node, processes: int) -> None:
    """Each is a container that ended with 255, the sentence in its log; afterwards no shim, cgroup or state."""
    before = left(node.host)
    with node.pod(processes) as pod:
        for number in range(STARTS):
            name = f"failing{number}"
            container = pod.start(name, NO_PROGRAM)
            status = pod.wait(container)
            assert (status["reason"], status["exit_code"]) == ("Error", 255)
            ((stream, words),) = pod.log(name)
            assert stream == "stderr"
            assert "exec format error: it is neither" in words
            node.call("RemoveContainer", container_id=container)
    nothing_is_left(node.host, before)


def namespaces(pod: Pod, container: str) -> dict[str, str]:
    """The namespaces of a container by kind."""
    kinds = ("ipc", "mnt", "net", "pid", "uts")
    script = "; ".join(f"readlink /proc/1/ns/{kind}" for kind in kinds)
    links = pod.output(container, "sh", "-c", script).split()
    return dict(zip(kinds, links, strict=True))


def test_two_containers_share_the_pod(pod: Pod) -> None:
    """Network, IPC and host name are the pod's; mounts and PIDs each one's own."""
    server = pod.start(
        "server", "sh", "-c", "echo hello > /tmp/page; exec httpd -f -p 127.0.0.1:7777 -h /tmp"
    )
    client = pod.start("client", "sleep", "1000")
    ours, theirs = namespaces(pod, server), namespaces(pod, client)
    assert {kind for kind in ours if ours[kind] == theirs[kind]} == {"ipc", "net", "uts"}
    assert pod.output(client, "hostname") == pod.name
    script = "until wget -q -O - http://127.0.0.1:7777/page; do sleep 0.05; done"
    assert pod.output(client, "sh", "-c", script) == "hello"


def test_two_containers_share_processes(node: Node) -> None:
    """shareProcessNamespace: process 1 is the pod's pause, and each sees and signals the other's."""
    with node.pod(processes=cri.POD) as pod:
        victim = pod.start("victim", "tail", "-f", "/dev/null")
        other = pod.start("other", "sleep", "1000")
        assert "trap 'exit 0' TERM" in pod.output(other, "cat", "/proc/1/cmdline").replace("\0", " ")
        pod.output(other, "killall", "tail")
        assert pod.wait(victim)["exit_code"] == 143
        assert pod.status(other)["state"] == cri.RUNNING


def test_limits_are_seen_and_updated(pod: Pod) -> None:
    memory = cgroup_file("memory/memory.limit_in_bytes", "memory.max")
    cpu = cgroup_file("cpu/cpu.cfs_quota_us", "cpu.max")
    resources = {
        "memory_limit_in_bytes": 64 << 20,
        "cpu_period": 50000,
        "cpu_quota": 25000,
        "oom_score_adj": 500,
    }
    container = pod.start("limits", "sleep", "1000", resources=resources)
    assert pod.output(container, "cat", memory) == str(64 << 20)
    assert pod.output(container, "cat", cpu).split()[0] == "25000"
    assert pod.output(container, "cat", "/proc/1/oom_score_adj") == "500"
    assert any(f"{pod.name}/{container}" in str(path) for path in pod.node.host.cgroups())
    changed = {"memory_limit_in_bytes": 32 << 20, "cpu_quota": 10000}
    pod.node.call("UpdateContainerResources", container_id=container, linux=changed)
    assert pod.output(container, "cat", memory) == str(32 << 20)
    assert pod.output(container, "cat", cpu).split()[0] == "10000"


def test_out_of_memory(pod: Pod) -> None:
    """The kernel kills the container at its limit, and Kubernetes learns the reason."""
    cgroup_file("memory/memory.limit_in_bytes", "memory.max")
    resources = {"memory_limit_in_bytes": 32 << 20}
    status = pod.wait(pod.start("hog", "tail", "/dev/zero", resources=resources))
    assert (status["exit_code"], status["reason"]) == (137, "OOMKilled")


def test_security_context(pod: Pod, tmp_path: Path) -> None:
    """User and groups, read-only root, no capabilities but one, a seccomp profile, a volume."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    (tmp_path / "volume").mkdir(mode=0o777)
    (tmp_path / "volume").chmod(0o777)
    security = {
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]},
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 1001},
        "supplemental_groups": [3000],
        "readonly_rootfs": True,
        "no_new_privs": True,
        "masked_paths": ["/proc/keys"],
        "seccomp": {"profile_type": 2, "localhost_ref": str(tmp_path / "profile.json")},
    }
    mounts = [{"container_path": "/volume", "host_path": str(tmp_path / "volume")}]
    container = pod.start("secure", "sleep", "1000", security=security, mounts=mounts, working_dir="/home")
    assert pod.output(container, "id").startswith("uid=1000(user) gid=1001(user)")
    assert "3000" in pod.output(container, "id", "-G").split()
    assert pod.output(container, "pwd") == "/home"
    assert "Read-only file system" in pod.execute(container, "touch", "/tmp/file")[1]
    assert pod.output(container, "cat", "/proc/keys") == ""
    pod.output(container, "touch", "/volume/file")
    assert (tmp_path / "volume/file").stat().st_uid == 1000
    assert "No space left on device" in pod.execute(container, "mkdir", "/volume/folder")[1]
    for status in (
        pod.output(container, "cat", "/proc/1/status"),
        pod.output(container, "cat", "/proc/self/status"),
    ):
        assert status_field(status, "NoNewPrivs") == "1"
        assert status_field(status, "Seccomp") == "2"
        assert int(status_field(status, "CapBnd"), 16) == 1 << 10  # CAP_NET_BIND_SERVICE
        assert int(status_field(status, "CapEff"), 16) == 0


def test_sysctls_of_a_pod(node: Node) -> None:
    with node.pod(sysctls={"net.ipv4.ip_unprivileged_port_start": "80"}) as pod:
        container = pod.start("sysctl", "sleep", "1000")
        assert pod.output(container, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "80"


def test_nothing_is_left(node: Node) -> None:
    """After a pod's removal: no cgroup, state, mount or network namespace of it."""
    before = node.host.run("cat", "/proc/self/mountinfo").stdout
    with node.pod() as pod:
        container = pod.start("short", "sleep", "1000")
        assert node.host.run("cat", "/proc/self/mountinfo").stdout != before
    assert node.host.run("cat", "/proc/self/mountinfo").stdout == before
    for identity in (pod.id, container):
        assert identity not in str(node.host.cgroups())
        assert node.host.run("find", "/run", "-name", identity).stdout == ""
