"""process.oomScoreAdj (config.md#linux-process)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

READ = "read /proc/self/oom_score_adj"
OWN = Path("/proc/self/oom_score_adj")
HIGHEST = 1000


@contextlib.contextmanager
def callers_score(t: Case) -> Iterator[int]:
    """The suite, and with it the runtime, has a score of its own that no configuration below names."""
    before = int(OWN.read_text())
    if before > HIGHEST - 200:
        t.skip(f"this host lacks room above the suite's own oom_score_adj, {before}")
    OWN.write_text(str(before + 77))
    try:
        yield before + 77
    finally:
        OWN.write_text(str(before))


def score(t: Case, wanted: int | None) -> int:
    """What the program's oom_score_adj is with this configuration."""
    changes = {} if wanted is None else {"process.oomScoreAdj": wanted}
    return int(t.run(changes, READ)[READ])


@test("oom.set", "oom.unset")
def adjusted(t: Case) -> None:
    """oomScoreAdj is what the program's oom_score_adj is; without it that is the caller's."""
    with callers_score(t) as own:
        for wanted in (own + 45, HIGHEST, own):
            t.equal("oom.set", score(t, wanted), wanted)
        t.equal("oom.unset", score(t, None), own)


@test("oom.set")
def zero(t: Case) -> None:
    """An oomScoreAdj of 0 is not the same as none."""
    if int(OWN.read_text()) > 0:
        t.skip("this host lacks CAP_SYS_RESOURCE, or an oom_score_adj of the suite's that is not above 0")
    with callers_score(t):
        t.equal("oom.set", score(t, 0), 0)


@test("oom.set", needs=("cap:SYS_RESOURCE",))
def lowered(t: Case) -> None:
    """A negative oomScoreAdj is applied."""
    t.equal("oom.set", score(t, -321), -321)
