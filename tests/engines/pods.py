"""Pods and their containers, as the CRI tests make and ask for them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import cri
from .private_host import PrivateHost

IMAGE = "docker.io/library/box:latest"


class Node:
    """containerd as the container runtime of a Kubernetes node."""

    def __init__(self, host: PrivateHost, client: cri.Client, handler: str, runtime_log: Path) -> None:
        self.host = host
        self.client = client
        self.call = client.call
        self.runtime_log = runtime_log
        self.handler = handler
        self._numbers = itertools.count(1)

    def pod(self, processes: int = cri.CONTAINER, **linux: Any) -> Pod:
        """Run a pod sandbox, under the node's runtime handler.

        `processes`: whose PID namespace its containers are in; `linux`: more of its LinuxPodSandboxConfig.
        """
        security = {"namespace_options": {"network": cri.POD, "pid": processes, "ipc": cri.POD}}
        name = f"pod{next(self._numbers)}"
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            "hostname": name,
            "log_directory": f"/var/log/pods/{name}",
            "linux": {
                "cgroup_parent": f"/{self.host.cgroup}/{name}",
                "security_context": security,
                **linux,
            },
        }
        self.host.path(f"/var/log/pods/{name}").mkdir(parents=True)
        answer = self.call("RunPodSandbox", config=config, runtime_handler=self.handler)
        return Pod(self, name, answer["pod_sandbox_id"], config)


class Pod:
    """A running pod sandbox; as context manager it is removed at the end."""

    def __init__(self, node: Node, name: str, identity: str, config: dict[str, Any]) -> None:
        self.node, self.name, self.id, self.config = node, name, identity, config

    def create(
        self,
        name: str,
        *command: str,
        resources: Mapping[str, int] | None = None,
        security: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Create a container; `changes` to its ContainerConfig. Returns its identity."""
        pods = self.config["linux"]["security_context"]
        linux = {"resources": resources or {}, "security_context": {**pods, **(security or {})}}
        config = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": command,
            "log_path": f"{name}.log",
            "linux": linux,
            **changes,
        }
        request = {"pod_sandbox_id": self.id, "config": config, "sandbox_config": self.config}
        return str(self.node.call("CreateContainer", **request)["container_id"])

    def start(self, name: str, *command: str, **changes: Any) -> str:
        """Create and start a container."""
        identity = self.create(name, *command, **changes)
        self.node.call("StartContainer", container_id=identity)
        return identity

    def execute(self, container: str, *command: str, timeout: int = 10) -> tuple[str, str, int]:
        """``ExecSync``: stdout, stderr and exit code."""
        answer = self.node.call("ExecSync", container_id=container, cmd=command, timeout=timeout)
        return answer["stdout"].decode(), answer["stderr"].decode(), answer["exit_code"]

    def output(self, container: str, *command: str) -> str:
        """Standard output of a command in a container, which has to succeed."""
        stdout, stderr, code = self.execute(container, *command)
        assert code == 0, stderr
        return stdout.strip()

    def status(self, container: str) -> dict[str, Any]:
        """The fields of ContainerStatus."""
        status: dict[str, Any] = self.node.call("ContainerStatus", container_id=container)["status"]
        return status

    def wait(self, container: str, timeout: float = 20.0) -> dict[str, Any]:
        """The status of a container after its end."""
        deadline = time.monotonic() + timeout
        while (status := self.status(container))["state"] != cri.EXITED:
            assert time.monotonic() < deadline, status
            time.sleep(0.02)
        return status

    def log(self, name: str) -> list[tuple[str, str]]:
        """The container's log: stream and text of each line, from the form TIME STREAM F TEXT."""
        text = self.node.host.path(f"/var/log/pods/{self.name}/{name}.log").read_text()
        lines = [line.split(" ", 3) for line in text.splitlines()]
        return [(stream, words) for _, stream, _, words in lines]

    def wait_for_log(self, name: str, text: str, stream: str = "stdout", timeout: float = 20.0) -> None:
        """Wait until the container has printed this line."""
        deadline = time.monotonic() + timeout
        while (stream, text) not in self.log(name):
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.02)

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *exception: object) -> None:
        self.node.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.node.call("RemovePodSandbox", pod_sandbox_id=self.id)
