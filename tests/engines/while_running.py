"""What engines do to a container while it runs: pause, update, top. Shared like behaviour.py."""

from __future__ import annotations

import time

from .behaviour import cgroup_file
from .engine import Engine

COUNT = "while :; do echo x; usleep 20000; done"


class WhileRunning:
    """pause, unpause, update, top, and the ends of a paused container."""

    def test_pause_and_unpause(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", COUNT)
        engine.wait_for_log(name, "x")
        engine.output("pause", name)
        assert engine.inspect(name, "{{.State.Status}}") == "paused"
        before = engine.output("logs", name)
        time.sleep(0.3)
        assert engine.output("logs", name) == before
        engine.output("unpause", name)
        assert engine.inspect(name, "{{.State.Status}}") == "running"
        time.sleep(0.3)
        assert engine.output("logs", name) != before
        engine.remove(name)

    def test_a_paused_container_is_removed(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", COUNT)
        engine.output("pause", name)
        engine.remove(name)
        assert name not in engine.output("ps", "--all")

    def test_update(self, engine: Engine) -> None:
        """The container itself sees its new limits, and keeps the others."""
        memory = cgroup_file("memory/memory.limit_in_bytes", "memory.max")
        shares = cgroup_file("cpu/cpu.shares", "cpu.weight")
        loop = f"while :; do echo memory $(cat {memory}) shares $(cat {shares}); usleep 50000; done"
        name = engine.start(
            ("--memory", "64m", "--memory-swap", "96m", "--cpu-shares", "512"), "sh", "-c", loop
        )
        weight = 512 if "shares" in shares.rpartition("/")[2] else 59
        engine.wait_for_log(name, f"memory {64 << 20} shares {weight}")
        engine.output("update", "--memory", "48m", name)
        engine.wait_for_log(name, f"memory {48 << 20} shares {weight}")
        engine.output("update", "--memory", "80m", "--memory-swap", "160m", name)
        engine.wait_for_log(name, f"memory {80 << 20} shares {weight}")
        engine.remove(name)

    def test_top(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", "sleep 1234 & sleep 2345; true")
        deadline = time.monotonic() + 10
        while (found := engine.output("top", name)).count("sleep") < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "sleep 1234" in found
        assert "sleep 2345" in found
        assert len(found.splitlines()) == 4
        engine.remove(name)
