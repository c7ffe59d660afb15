"""podman: running containers changed, watched and copied; refused programs; shortage; real servers; a seccomp agent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import seccomp_agent

from . import test_podman
from .engine import Engine
from .more import More
from .payloads import Payloads
from .refusals import Refusals, programs  # noqa: F401

engine = test_podman.engine


class TestPodmanMore(More, Refusals, Payloads):
    """The shared tests, and those that only podman can have."""

    def test_seccomp_agent(self, engine: Engine, tmp_path: Path) -> None:
        """A profile's SCMP_ACT_NOTIFY and listenerPath come to the runtime: the agent makes the folders, for exec too.
        (docker leaves listenerPath out.)"""
        socket, profile = tmp_path / "agent", tmp_path / "profile.json"
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
        seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(socket), "syscalls": [rule]}
        profile.write_text(json.dumps(seccomp))
        argv = [sys.executable, seccomp_agent.__file__, str(socket), "mkdir"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as agent:
            try:
                assert agent.stdout
                assert agent.stdout.readline()
                options = ("--security-opt", f"seccomp={profile}")
                name = engine.start(options, "sh", "-c", "mkdir /made; sleep 1000")
                out = engine.output("exec", name, "sh", "-c", "mkdir /too; ls /too; ls /made")
                assert out.split() == ["by-agent", "by-agent"]
                engine.remove(name)
            finally:
                agent.kill()
