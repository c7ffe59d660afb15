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
from pyrun.features import environment
from pyrun.kernel import calls, process
from pyrun.story import last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.features import users
    from pyrun.story.last import Init


def preload(init: Init, user: users.Asked | None) -> None:
    """Import, in the parent, what this process needs beyond the ordinary."""
    if init.plan.terminal:
        import pyrun.features.terminal
    if user is not None or environment.lacks_home(init.plan.process or {}):
        import pyrun.features.users  # noqa: F401


def run(init: Init, sync: int, user: users.Asked | None) -> NoReturn:
    """Be a process of exec; `user` is what --user asks for. Never returns."""

    def story(init: Init, sync: int) -> NoReturn:
        _run(init, sync, user)

    last.or_say_why(story, init, sync)


def _run(init: Init, sync: int, user: users.Asked | None) -> NoReturn:
    plan = init.plan
    program = plan.process
    assert program is not None
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    process.prctl(process.PR_SET_DUMPABLE, 0)  # those inside must not look into us (CVE-2016-9962)
    posix.umask(0)
    try:
        if "user" in plan.namespaces and posix.geteuid() == 0:
            posix.setgroups([])
        if init.join:
            process.join(init.pidfd, init.join)
        # The root of the mount namespace, wherever the init's program has chrooted to: unless it isn't the container's,
        # as the namespace was joined, or the container was created in a chroot.
        slash = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
        here = posix.fstat(slash)
        if [here.st_dev, here.st_ino] != init.root_node:
            posix.dup2(init.root_fd, slash, False)
            posix.fchdir(slash)
            posix.chroot(".")
        posix.close(init.root_fd)
        posix.close(init.pidfd)
        if "user" in plan.namespaces:
            last.become_root()
    except OSError as error:
        raise failed("joining the container's namespaces", error) from None

    if protocol.receive(sync) != protocol.GO:
        posix._exit(1)
    if user is not None:
        from pyrun.features import users

        program["user"] = users.resolve(slash, user[0], program.get("user") or {}, user[1])
    if plan.terminal:
        from pyrun.features import terminal

        slave = terminal.make(
            slash, init.console_socket, program.get("consoleSize"), False, plan.plain_terminal
        )
        terminal.put_on_stdio(slave, (program.get("user") or {}).get("uid", 0))
    if plan.new_keyring:
        last.make_keyring(init)
    cwd = last.enter_cwd(slash, program, make=False)
    last.become_stage2(init, sync, slash, cwd)
