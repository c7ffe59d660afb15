"""A system call that fails, whichever it is: the command either does without it, or ends with one sentence and exit
status 1, and then nothing of the container is left (runtime.md, Errors)."""

from __future__ import annotations

import contextlib
import errno
import json
import os

import pytest
from bundles import Bundle, Pyrun, eventually, processes_of
from faults import DULL, Faults, Point, one_sentence, points, points_wanted, temporary_files
from test_killed import CASES, Case

ERRORS = (errno.ENOSPC, errno.EIO, errno.EPERM, errno.ENOMEM)
# What the kernel doesn't refuse, or whose failure changes nothing.
NEVER_FAIL = (
    *DULL,
    "mprotect",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "close",
    "munmap",
    "getuid",
    "geteuid",
)

POINTS = {
    "create": 50,
    "create-user": 12,
    "create-join": 15,
    "create-join-pid": 15,
    "create-join-pid-before-6.17": 20,
    "create-plain": 20,
    "start": 12,
    "delete": 15,
    "delete-force": 12,
    "run": 16,
}


def disturb(
    case: Case, point: Point, faults: Faults, pyrun: Pyrun, bundle: Bundle, words: tuple[str, ...]
) -> None:
    """Let the call at a point fail, and check what comes of it."""
    container_id = words[-1]
    number = ERRORS[point[1] % len(ERRORS)]
    ended = faults.at(point, f"error:{number}", *words)
    about = f"error {errno.errorcode[number]}, exit status {ended.code}, {ended.err!r}"
    assert ended.code in (0, 1), about
    if ended.code == 1:
        assert one_sentence(ended.err), about
        if words[0] == "run" and (pyrun.root / container_id).exists():
            # it failed in deleting the container, which is stopped by then
            assert json.loads(pyrun.ok("state", container_id).out)["status"] == "stopped", about
            pyrun.ok("delete", container_id)
        elif words[0] in ("create", "run"):
            assert not (pyrun.root / container_id).exists(), f"{about}: the state folder is left"
            eventually(lambda: not list(processes_of([container_id])), f"{about}: a process is left", 5)
            pyrun.assert_gone(container_id)
            assert not temporary_files(pyrun, bundle), about
    left = pyrun.leftovers()
    if ended.code == 0 and ended.at(point) == "rmdir":
        # A cgroup above the container's, which may be another's by now: removing it is never worth a failure.
        for text in left:
            kind, _, path = text.partition(" ")
            if kind == "cgroup" and path.endswith(f"/{container_id}"):
                for folder in (f"{path}/below", path):
                    with contextlib.suppress(FileNotFoundError):
                        os.rmdir(folder)
        left = pyrun.leftovers()
    assert not left, f"{about}: {left}"


@pytest.mark.parametrize("name", POINTS)
def test_failing_call(
    name: str, faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], before_6_17: str
) -> None:
    container_id, bundle = rich
    case = CASES[name]
    if case.before_6_17:
        pyrun.wrapper = [before_6_17]
    bundle.args(*case.process)
    if case.change:
        case.change(bundle)
    words = (*[word.format(bundle=bundle.path) for word in case.words], container_id)
    case.before(pyrun, bundle, container_id)
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    pyrun.ok("delete", "--force", container_id)
    failures = []
    chosen = points(recorded.calls, points_wanted(POINTS[name]), NEVER_FAIL)
    for point in chosen:
        case.before(pyrun, bundle, container_id)
        try:
            disturb(case, point, faults, pyrun, bundle, words)
        except AssertionError as error:
            failures.append(f"{point} {recorded.at(point)}: {error}")
            pyrun("delete", "--force", container_id)
    print(f"{name}: {len(chosen)} points")
    assert not failures, "\n".join(failures)
