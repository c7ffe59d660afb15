"""What happens in a process of exec: into the container's namespaces, and to stage 2.

Hot module, and the child's half of the story that story/exec_.py tells. The same rules hold as in story/inside.py:
nothing is imported or loaded from here on.

A pid namespace is joined for children only, and those who live in it see them. We stay outside. The child is made by
stage 2, when that is what it runs and has no right any more but the program's: whoever may look into it (by
CAP_SYS_PTRACE) finds nothing that is the host's.
"""

from __future__ import annotations

import posix

from pyrun.base import protocol
from pyrun.base.errors import failed
from pyrun.features import cwd, id_maps, keyring, oom_score, terminal, users
from pyrun.kernel import calls, process
from pyrun.story import facts, last, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.story.making import Inside
    from pyrun.story.step import Row


def _begin(_: Inside) -> None:
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    posix.umask(0)


def _close(_: Inside) -> None:
    process.prctl(process.PR_SET_DUMPABLE, 0)  # those inside must not look into us (CVE-2016-9962)


def _join(inside: Inside) -> None:
    """Join the namespaces, and find the root: that of the mount namespace, wherever the init's program has chrooted to;
    unless it isn't the container's, as the namespace was joined, or --no-pivot has left another."""
    try:
        if "user" in inside.plan.namespaces and posix.geteuid() == 0 and not inside.plan.keeps_groups:
            posix.setgroups([])
        if inside.join:
            process.join(inside.pidfd, inside.join)
        slash = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
        here = posix.fstat(slash)
        if [here.st_dev, here.st_ino] != inside.root_node:
            posix.dup2(inside.root_fd, slash, False)
            posix.fchdir(slash)
            posix.chroot(".")
        posix.close(inside.root_fd)
        posix.close(inside.pidfd)
        inside.slash = slash
    except OSError as error:
        raise failed("joining the container's namespaces", error) from None


def _wait(inside: Inside) -> None:
    if protocol.receive(inside.sync) != protocol.GO:
        posix._exit(1)


INSIDE: tuple[Row[Inside], ...] = (
    (facts.ALWAYS, "dying with the runtime", _begin),
    ("process.oomScoreAdj", "setting the OOM score", oom_score.write_own),
    (facts.NO_OOM_SCORE, "taking the container's OOM score", oom_score.inherit),
    (facts.ALWAYS, "closing to those inside", _close),
    (facts.ALWAYS, "joining the container's namespaces", _join),
    (facts.USER_NAMESPACE, "becoming root in the user namespace", id_maps.become_root),
    (facts.ALWAYS, "waiting for the runtime", _wait),
    ("--user", "looking up the user", users.find),
    ("process.terminal", "making the terminal", terminal.make_for_exec),
    (facts.SESSION_KEYRING, "joining a new session keyring", keyring.join_new),
    ("process.cwd", "entering the working directory", cwd.enter),
    (facts.ALWAYS, "becoming stage 2", last.become_stage2),
)


def run(inside: Inside, sync: int) -> NoReturn:
    """Be a process of exec. Never returns."""
    talk.be_the_child(INSIDE, inside, sync)
