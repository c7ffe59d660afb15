"""A container's terminal in the foreground whose output goes into a file: `script`, CI jobs, a shell's `>`."""

from __future__ import annotations

import os

import pytest
from bundles import TIME_LIMIT


@pytest.mark.parametrize("command", ["run", "exec"])
def test_lines_end_with_a_newline_alone(pyrun, bundle, tmp_path, command):
    """What the program prints ends its lines as without a terminal: no carriage returns."""
    script = "tty; for n in 1 2 3; do echo $n; done"
    if command == "run":
        argv = ["run", "-b", str(bundle({"process": {"terminal": True}}, sh=script).path), pyrun.id()]
    else:
        container = pyrun.start(bundle().args("sleep", "1000"))
        argv = ["exec", "--tty", container.id, "sh", "-c", script]
    controller, terminal = os.openpty()
    path = tmp_path / "output"
    try:
        with path.open("wb") as file:
            process = pyrun.popen(*argv, stdin=terminal, stdout=file, stderr=file)
            assert process.wait(TIME_LIMIT) == 0
    finally:
        os.close(controller)
        os.close(terminal)
    assert path.read_bytes() == b"/dev/pts/0\n1\n2\n3\n"
