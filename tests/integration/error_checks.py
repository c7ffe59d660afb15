"""What every failing command owes its caller, as one check that is fast enough for hundreds of examples."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundles import CALLER, Pyrun
from hypothesis import HealthCheck, settings

TIME_LIMIT = 20.0  # seconds; a hang is a fault, a busy machine is not
EXAMPLES = int(os.environ.get("PYRUN_EXAMPLES", "0"))


def examples(number: int) -> settings:
    """Settings for a test with so many examples, always the same ones; $PYRUN_EXAMPLES asks for other, more ones."""
    return settings(
        max_examples=EXAMPLES or number,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def run(pyrun: Pyrun, arguments: Sequence[str | bytes], **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command line. Output goes to files, as a container that lives on would keep pipes open."""
    with (pyrun.folder / "stdout").open("w+b") as out, (pyrun.folder / "stderr").open("w+b") as err:
        more = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "env": CALLER, **more}
        argv = [str(pyrun.runtime), "--root", str(pyrun.root), *arguments]
        ended = subprocess.run(argv, timeout=TIME_LIMIT, check=False, **more)
        out.seek(0)
        err.seek(0)
        ended.stdout, ended.stderr = out.read(), err.read()
    return ended


def sentence_of(ended: subprocess.CompletedProcess[bytes]) -> str:
    """The one sentence of a command that failed with exit status 1."""
    assert ended.returncode == 1, ended
    text = ended.stderr.decode()  # UTF-8, whatever the input was
    lines = [line for line in text.splitlines() if not line.startswith("pyrun: warning: ")]
    assert len(lines) == 1, text
    assert lines[0].startswith("pyrun: "), text
    assert lines[0].isprintable(), text
    assert "internal error" not in text, text
    assert "Traceback" not in text, text
    assert text.endswith("\n"), text
    return lines[0].removeprefix("pyrun: ")


def fails(pyrun: Pyrun, arguments: Sequence[str | bytes], **more: Any) -> str:
    """Run a command line that must fail; its sentence is the log's last record too, and is returned."""
    log = pyrun.folder / "log.json"
    log.unlink(missing_ok=True)
    sentence = sentence_of(run(pyrun, ["--log", str(log), "--log-format", "json", *arguments], **more))
    record = json.loads(log.read_text().splitlines()[-1])
    assert record["level"] == "error"
    assert record["msg"] == sentence
    return sentence


def nothing_made(pyrun: Pyrun, container_id: str) -> None:
    """No state folder and no cgroup of that name: a quick look. The fixture `pyrun` looks closely at the end."""
    assert not os.path.lexists(pyrun.root / container_id)
    for hierarchy in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
        assert not (hierarchy / container_id).exists()
