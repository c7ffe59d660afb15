"""A client of Kubernetes' Container Runtime Interface: what kubelet does, by hand.

Field numbers: https://github.com/kubernetes/cri-api, pkg/apis/runtime/v1/api.proto; only what the tests use.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from .protobuf import Codec, Message, Schema

CREATED, RUNNING, EXITED = 0, 1, 2  # ContainerState
POD, CONTAINER = 0, 1  # NamespaceMode
TIMEOUT = 30.0  # seconds, for one call

SCHEMA: Schema = {
    "VersionRequest": {"version": (1, "string")},
    "VersionResponse": {"runtime_name": (2, "string"), "runtime_version": (3, "string")},
    "PodMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string")},
    "ContainerMetadata": {"name": (1, "string")},
    "NamespaceOption": {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int")},
    "Int64Value": {"value": (1, "int")},
    "SecurityProfile": {"profile_type": (1, "int"), "localhost_ref": (2, "string")},
    "SandboxSecurity": {"namespace_options": (1, "NamespaceOption"), "privileged": (6, "bool")},
    "LinuxSandbox": {
        "cgroup_parent": (1, "string"),
        "security_context": (2, "SandboxSecurity"),
        "sysctls": (3, "map"),
    },
    "PodSandboxConfig": {
        "metadata": (1, "PodMetadata"),
        "hostname": (2, "string"),
        "log_directory": (3, "string"),
        "labels": (6, "map"),
        "linux": (8, "LinuxSandbox"),
    },
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "string")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "string")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "PodSandboxStatusRequest": {"pod_sandbox_id": (1, "string")},
    "PodNetwork": {"ip": (1, "string")},
    "PodSandboxStatus": {"id": (1, "string"), "state": (3, "int"), "network": (5, "PodNetwork")},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus")},
    "ImageSpec": {"image": (1, "string")},
    "KeyValue": {"key": (1, "string"), "value": (2, "string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "bool")},
    "Resources": {
        "cpu_period": (1, "int"),
        "cpu_quota": (2, "int"),
        "cpu_shares": (3, "int"),
        "memory_limit_in_bytes": (4, "int"),
        "oom_score_adj": (5, "int"),
    },
    "Capability": {"add_capabilities": (1, "*string"), "drop_capabilities": (2, "*string")},
    "ContainerSecurity": {
        "capabilities": (1, "Capability"),
        "privileged": (2, "bool"),
        "namespace_options": (3, "NamespaceOption"),
        "run_as_user": (5, "Int64Value"),
        "readonly_rootfs": (7, "bool"),
        "supplemental_groups": (8, "*int"),
        "no_new_privs": (11, "bool"),
        "run_as_group": (12, "Int64Value"),
        "masked_paths": (13, "*string"),
        "readonly_paths": (14, "*string"),
        "seccomp": (15, "SecurityProfile"),
    },
    "LinuxContainer": {"resources": (1, "Resources"), "security_context": (2, "ContainerSecurity")},
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"),
        "image": (2, "ImageSpec"),
        "command": (3, "*string"),
        "working_dir": (5, "string"),
        "envs": (6, "*KeyValue"),
        "mounts": (7, "*Mount"),
        "log_path": (11, "string"),
        "linux": (15, "LinuxContainer"),
    },
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, "string"),
        "config": (2, "ContainerConfig"),
        "sandbox_config": (3, "PodSandboxConfig"),
    },
    "CreateContainerResponse": {"container_id": (1, "string")},
    "StartContainerRequest": {"container_id": (1, "string")},
    "StopContainerRequest": {"container_id": (1, "string"), "timeout": (2, "int")},
    "RemoveContainerRequest": {"container_id": (1, "string")},
    "ContainerStatusRequest": {"container_id": (1, "string")},
    "ContainerStatus": {
        "id": (1, "string"),
        "state": (3, "int"),
        "exit_code": (7, "int"),
        "reason": (10, "string"),
        "message": (11, "string"),
    },
    "ContainerStatusResponse": {"status": (1, "ContainerStatus")},
    "UpdateContainerResourcesRequest": {"container_id": (1, "string"), "linux": (2, "Resources")},
    "ExecSyncRequest": {"container_id": (1, "string"), "cmd": (2, "*string"), "timeout": (3, "int")},
    "ExecSyncResponse": {"stdout": (1, "bytes"), "stderr": (2, "bytes"), "exit_code": (3, "int")},
}
CODEC = Codec(SCHEMA)


def grpc() -> ModuleType:
    """The module grpc; skips the calling test where it isn't installed."""
    module: ModuleType = pytest.importorskip("grpc", reason="needs grpcio: not installed")
    return module


class Refused(Exception):
    """What the service answered instead of doing it."""


class Client:
    """Calls methods of ``runtime.v1.RuntimeService`` at a Unix socket."""

    def __init__(self, socket: str) -> None:
        self.channel = grpc().insecure_channel(f"unix:{socket}")

    def call(self, method: str, **request: Any) -> Message:
        """One method by its name, with the fields of its request; the answer's fields.

        Raises Refused with the message of the service.
        """
        answer = f"{method}Response"
        unary = self.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda message: CODEC.encode(f"{method}Request", message),
            response_deserializer=lambda data: CODEC.decode(answer, data) if answer in SCHEMA else {},
        )
        try:
            message: Message = unary(request, timeout=TIMEOUT)
        except grpc().RpcError as error:
            raise Refused(error.details()) from None
        return message

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()
