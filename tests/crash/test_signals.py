"""SIGTERM and SIGINT to create and run at any instant: they end, and nothing is left that delete can't remove."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun
from faults import Faults, points, points_wanted
from test_killed import assert_reusable


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_create(number: signal.Signals, faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle]) -> None:
    container_id, bundle = rich
    words = ("create", "--bundle", str(bundle.path), container_id)
    recorded = faults.record(*words)
    pyrun.ok("delete", "--force", container_id)
    for point in points(recorded.calls, points_wanted(10)):
        ended = faults.at(point, f"signal:{int(number)}", *words)
        assert "internal error" not in ended.err, ended
        assert "Traceback" not in ended.err, ended
        assert_reusable(pyrun, bundle, container_id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_run_passes_it_on(
    number: signal.Signals, pyrun: Pyrun, rich: tuple[str, Bundle], tmp_path: Path
) -> None:
    """`run` loses no signal, however early it comes: the program dies of it, and the container is deleted."""
    container_id, bundle = rich
    bundle.sh("trap 'exit 7' TERM INT; while :; do sleep 0.01; done")
    chance = random.Random(int(number))
    for _ in range(min(points_wanted(10), 100)):
        with (tmp_path / "err").open("wb") as err:
            process = pyrun.popen(
                "run", "--bundle", str(bundle.path), container_id, stdout=subprocess.DEVNULL, stderr=err
            )
            time.sleep(chance.uniform(0.0, 0.08))
            process.send_signal(number)
            # before the shell has set its trap, it is process 1 of its namespace and ignores the signal
            for _ in range(1000):
                if process.poll() is not None:
                    break
                time.sleep(0.02)
                process.send_signal(number)
        assert process.returncode in (7, -number), (tmp_path / "err").read_text()
        if process.returncode == 7:
            pyrun.assert_gone(container_id)
        else:  # it came before `run` had blocked it
            assert_reusable(pyrun, bundle, container_id)
