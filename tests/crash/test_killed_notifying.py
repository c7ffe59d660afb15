"""create for a caller who waits for sd_notify(3) makes a folder and a mount more: killed at any instant, it leaves
nothing that `delete --force` doesn't remove."""

from __future__ import annotations

import bundles
import pytest
import test_killed as killed
from bundles import Bundle, Pyrun
from faults import Faults


def test_create(
    faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id can be used again."""
    monkeypatch.setitem(bundles.CALLER, "NOTIFY_SOCKET", "/nobody/listens")
    killed.test_killed("create-plain", faults, pyrun, rich, "")  # on this kernel
