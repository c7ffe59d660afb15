"""Fixtures of the crash tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun, new_id
from faults import Faults, rich_config


@pytest.fixture(scope="session")
def fault_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fault.c, compiled."""
    needs.program("gcc")
    path = tmp_path_factory.mktemp("fault") / "fault"
    source = Path(__file__).parent / "fault.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(source)], check=True)
    return path


@pytest.fixture
def faults(fault_program: Path, pyrun: Pyrun, tmp_path: Path) -> Faults:
    """Runs commands of the runtime and disturbs them."""
    return Faults(fault_program, pyrun, tmp_path)


@pytest.fixture
def rich(bundle: Callable[..., Bundle], tmp_path: Path) -> tuple[str, Bundle]:
    """An id, and a bundle that uses all that could be left behind."""
    container_id = new_id()
    return container_id, bundle(change=rich_config(container_id, tmp_path / "marks"), sh="sleep 1000")
