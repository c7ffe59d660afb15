"""containerd's CRI with SystemdCgroup = true, as kubeadm sets up a node: contrib's files, and that one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import cri
from engines.image import docker_archive
from guest import CONTRIB, ROOTFS, Host, eventually

IMAGE, PAUSE = "docker.io/library/box:latest", "docker.io/library/pause:latest"
PAUSE_PROGRAM = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
SLICE = "kubepods-podtest.slice"
EXTRA = f"""
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/pods"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}}],
}
SANDBOX = {
    "metadata": {"name": "pod", "uid": "pod", "namespace": "default"},
    "hostname": "pod",
    "log_directory": "/var/log/pods/pod",
    "linux": {
        "cgroup_parent": SLICE,
        "security_context": {"namespace_options": {"network": cri.POD, "pid": cri.CONTAINER, "ipc": cri.POD}},
    },
}


class Node:
    """A node's containerd."""

    def __init__(self) -> None:
        self.client = cri.Client("/run/containerd/containerd.sock")
        self.call = self.client.call

    def start(self, pod: str, name: str, *command: str, **resources: int) -> str:
        """Create and start a container of a pod."""
        security: dict[str, Any] = SANDBOX["linux"]["security_context"]  # type: ignore[index]
        linux = {"resources": resources, "security_context": security}
        config = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": command,
            "log_path": f"{name}.log",
            "linux": linux,
        }
        request = {"pod_sandbox_id": pod, "config": config, "sandbox_config": SANDBOX}
        container = str(self.call("CreateContainer", **request)["container_id"])
        self.call("StartContainer", container_id=container)
        return container

    def output(self, container: str, *command: str) -> str:
        """What a command in a container prints."""
        answer = self.call("ExecSync", container_id=container, cmd=command, timeout=30)
        return str(answer["stdout"].decode())


@pytest.fixture(scope="module")
def node(root: Host) -> Iterator[Node]:
    """containerd with contrib's config.toml, in which SystemdCgroup is true, and images of our own."""
    cri.TIMEOUT = 120.0
    configuration = (CONTRIB / "containerd/config.toml").read_text()
    assert "SystemdCgroup = false" in configuration
    configuration = configuration.replace("SystemdCgroup = false", "SystemdCgroup = true")
    Path("/etc/containerd").mkdir(exist_ok=True)
    Path("/etc/containerd/config.toml").write_text(configuration + EXTRA)
    Path("/etc/cni/pods").mkdir(parents=True, exist_ok=True)
    Path("/etc/cni/pods/10-pods.conflist").write_text(json.dumps(NETWORK))
    root.ok("systemctl", "restart", "containerd")
    tar = subprocess.run(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    for name, program in ((IMAGE, ()), (PAUSE, PAUSE_PROGRAM)):
        file = Path("/tmp/image.tar")
        file.write_bytes(docker_archive(tar, name, program))
        root.ok("ctr", "--namespace", "k8s.io", "image", "import", str(file))
        file.unlink()
    one = Node()
    yield one
    one.client.close()
    root.ok("systemctl", "stop", "containerd")
    Path("/etc/containerd/config.toml").unlink()
    shutil.rmtree("/var/log/pods", ignore_errors=True)


def test_a_pods_life(root: Host, node: Node) -> None:
    """The sandbox and its containers are scopes of the pod's slice, limits are properties of theirs, an update changes
    both, and nothing is left after the pod."""
    Path("/var/log/pods/pod").mkdir(parents=True, exist_ok=True)
    pod = node.call("RunPodSandbox", config=SANDBOX, runtime_handler="pyrun")["pod_sandbox_id"]
    try:
        container = node.start(
            pod, "one", "sh", "-c", "echo started; sleep 1000", memory_limit_in_bytes=1 << 26, cpu_shares=512
        )
        unit = f"cri-containerd-{container}.scope"
        shown = root.systemctl("show", unit, "-p", "Slice,MemoryMax,ControlGroup").splitlines()
        assert f"Slice={SLICE}" in shown
        assert "MemoryMax=67108864" in shown
        assert f"ControlGroup=/kubepods.slice/{SLICE}/{unit}" in shown
        assert root.units(f"cri-containerd-{pod}.scope") == [f"cri-containerd-{pod}.scope"]
        assert node.output(container, "cat", "/sys/fs/cgroup/memory.max") == "67108864\n"
        update = {"memory_limit_in_bytes": 1 << 25}
        node.call("UpdateContainerResources", container_id=container, linux=update)
        assert node.output(container, "cat", "/sys/fs/cgroup/memory.max") == "33554432\n"
        assert root.systemctl("show", unit, "-p", "MemoryMax") == "MemoryMax=33554432\n"
        root.systemctl("daemon-reload")
        assert node.output(container, "cat", "/sys/fs/cgroup/memory.max") == "33554432\n"
        log = Path("/var/log/pods/pod/one.log")
        eventually(lambda: "stdout F started" in log.read_text(), "no log")
        node.call("StopContainer", container_id=container, timeout=1)
        node.call("RemoveContainer", container_id=container)
    finally:
        node.call("StopPodSandbox", pod_sandbox_id=pod)
        node.call("RemovePodSandbox", pod_sandbox_id=pod)
    eventually(lambda: root.units("cri-containerd-*.scope") == [], "units are left")
