"""docker: running containers changed, watched, copied; refused programs; shortage; servers; restart policies."""

from __future__ import annotations

from . import test_docker
from .engine import Engine
from .more import More, wait_for
from .payloads import Payloads
from .refusals import Refusals, programs  # noqa: F401

engine = test_docker.engine


class TestDockerMore(More, Refusals, Payloads):
    """The shared tests, and those that only docker can have."""

    def test_pids_limit_is_changed(self, engine: Engine) -> None:
        name = engine.start((), "sleep", "1000")
        engine.output("update", "--pids-limit", "33", name)
        assert engine.output("exec", name, "cat", "/sys/fs/cgroup/pids/pids.max") == "33"
        engine.remove(name)

    def test_cpus_are_changed(self, engine: Engine) -> None:
        name = engine.start(("--cpus", "0.5"), "sleep", "1000")
        engine.output("update", "--cpus", "0.25", name)
        script = "cd /sys/fs/cgroup/cpu; echo $(cat cpu.cfs_quota_us cpu.cfs_period_us)"
        assert engine.output("exec", name, "sh", "-c", script) == "25000 100000"
        engine.remove(name)

    def test_restart_always_survives_a_kill_of_its_process(self, engine: Engine) -> None:
        name = engine.start(("--restart", "always"), "sleep", "1000")
        pid = engine.inspect(name, "{{.State.Pid}}")
        engine.host.run("kill", "-9", pid)
        wait_for(lambda: engine.inspect(name, "{{.State.Pid}}") not in ("0", pid), "a new process")
        assert engine.output("exec", name, "echo", "back") == "back"
        engine.remove(name)
