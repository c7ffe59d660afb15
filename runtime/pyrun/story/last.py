"""The last step of every process that becomes a container's: what stage 2 is told, and becoming it.

Hot module. Two stories end here: a container's init (story/inside.py) and a process of exec (story/inside_exec.py).
`LAST` is what stage 2 does, in order. The function of a row writes orders; who asks for it and the words are the label
of these, by which a failure is reported.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import failed
from pyrun.features import (
    capabilities,
    cpu_affinity,
    cwd,
    environment,
    hooks,
    labels,
    memory_policy,
    personality,
    program,
    rlimits,
    stdio,
    user,
)
from pyrun.features.seccomp import loading
from pyrun.kernel import calls, process, stage2
from pyrun.story import born, facts, orders, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from oci_spec import types
    from pyrun.story.making import Inside
    from pyrun.story.step import Row

# The signals that end a created container, as a mask: those that people and engines stop containers with. They are
# blocked until stage 2, as pid 1, reads them.
ENDING = sum(1 << signal - 1 for signal in (process.SIGHUP, process.SIGINT, process.SIGQUIT, process.SIGTERM))

# Stands for the pid that stage 2 will have, and will write over it.
UNBORN = 10**15


class Last:
    """What the functions of rows know: the orders that they add to, and all that these follow from."""

    __slots__ = (
        "cgroups",
        "inside",
        "listen_fd",
        "orders",
        "plan",
        "proc",
        "program",
        "rights",
        "sets",
        "unborn",
        "user",
        "waited_with",
    )

    def __init__(self, inside: Inside, first: int) -> None:
        self.inside = inside
        self.plan = inside.plan
        self.program: types.Process = inside.plan.program
        self.user = inside.plan.user()
        self.orders = orders.Orders()
        # Is it a process of exec, or one whose PID namespace counts for its children only?
        self.unborn = inside.listen_fd < 0 or inside.joins_pid
        # Descriptors that stage 2 has, above those of the program
        self.listen_fd = _above(inside.listen_fd, first)
        self.waited_with = _above(inside.created_fd, first)  # held as long as it waits, and after
        self.proc = _above(inside.labels.proc, first) if inside.labels else -1
        # of v1, still to be entered
        self.cgroups = [_above(fd, first) for fd in inside.cgroup_entrance] if inside.listen_fd < 0 else []
        self.rights = process.permitted_capabilities()
        self.sets, warnings = capabilities.masks(self.program.get("capabilities") or {}, self.rights)
        for text in warnings:
            inside.warn(text)

    def label(self, path: str, words: str, *special: tuple[int, str, str], kind: str = "") -> None:
        """Label the orders to come otherwise than the row does; `special` is as in orders.label."""
        self.orders.label = orders.label(path, words, kind, special)

    def texts(self, values: list[str]) -> bytes:
        """Texts as an order has them."""
        return orders.texts(values)

    def pid(self) -> int:
        """The program's pid, or what stands for it: stage 2 writes over it then."""
        return UNBORN if self.unborn else posix.getpid()


# Asked of stage 2 by everyone: what isn't configured has a default, or is to be given up.
EVERY = frozenset(
    (
        "process.user.umask process.user.gid process.user.uid process.user.additionalGids process.capabilities"
        " process.capabilities.ambient process.capabilities.inheritable process.capabilities.bounding"
    ).split()
)


def _asked(last: Last) -> frozenset[str]:
    """What is asked of stage 2: by the plan, and by what only the child knows."""
    inside = last.inside
    found = {
        facts.LABELS: inside.labels,
        facts.LATE_CWD: inside.cwd,
        facts.UNBORN: last.unborn,
        facts.INTO_PID_NAMESPACE: inside.joins_pid or inside.join & process.CLONE_NEWPID,
        facts.WAITING: last.listen_fd >= 0,
    }
    return last.plan.asked | EVERY | {name for name, holds in found.items() if holds}


def _stay_closed(last: Last) -> None:
    """A change of identity may have ended it (fs.suid_dumpable)."""
    last.orders.try_call(stage2.NR_PRCTL, process.PR_SET_DUMPABLE, 0, 0, 0, 0)


def _outlive_create(last: Last) -> None:
    """create may end from here on; if it did already, telling fails."""
    last.orders.try_call(stage2.NR_PRCTL, process.PR_SET_PDEATHSIG, 0, 0, 0, 0)


def _wait(last: Last) -> None:
    last.orders.add(stage2.WAIT, (last.listen_fd, last.waited_with))


LAST: tuple[Row[Last], ...] = (
    # while we have all rights
    ("process.apparmorProfile", "confining the program", labels.confine),
    ("process.selinuxLabel", "labelling the program", labels.label_program),
    (facts.LABELS, "closing the host's procfs", labels.close),
    ("linux.personality", "setting the personality", personality.set_),
    ("linux.memoryPolicy", "setting the memory policy", memory_policy.set_),
    # who the program is
    ("process.user.umask", "setting the umask", user.set_umask),
    ("process.capabilities.ambient", "giving up the caller's ambient set", capabilities.clear_ambient),
    (
        "process.capabilities.inheritable",
        "setting the inheritable capabilities",
        capabilities.set_inheritable,
    ),
    (
        "process.capabilities.bounding",
        "dropping capability {number} from the bounding set",
        capabilities.drop_bounding,
    ),
    ("process.capabilities", "setting the capabilities", capabilities.keep_until_execve),
    ("process.user.additionalGids", "setting the supplementary groups", user.set_groups),
    ("process.user.gid", "becoming this group", user.become_group),
    ("process.user.uid", "becoming this user", user.become_user),
    (facts.LATE_CWD, "entering it as the program's user", cwd.enter_late),
    (facts.LATE_CWD, "checking where that has led", cwd.be_inside),
    ("process.capabilities", "setting the capabilities", capabilities.take_on),
    (
        "process.capabilities.ambient",
        "raising capability {number} in the ambient set",
        capabilities.raise_ambient,
    ),
    ("process.noNewPrivileges", "setting no_new_privs", capabilities.forbid_new_privileges),
    (facts.ALWAYS, "staying closed to others", _stay_closed),
    ("process.args", "finding the program", program.find),
    ("linux.seccomp", "loading the filter", loading.hold),
    ("linux.seccomp", "loading the filter before anybody sees us", loading.load_early),
    # where it is
    (facts.ALWAYS, "outliving create", _outlive_create),
    (facts.INTO_PID_NAMESPACE, "making a process in the container's PID namespace", born.be_born),
    (facts.UNBORN, "leading a session", born.lead_session),
    ("process.terminal", "taking the terminal", born.take_terminal),
    (facts.UNBORN, "entering the container's cgroups", born.enter_cgroups),
    ("process.execCPUAffinity", "running on the final CPUs", cpu_affinity.end),
    (facts.UNBORN, "setting LISTEN_PID", born.set_listen_pid),
    # from here on by the word of start
    (facts.WAITING, "waiting for start", _wait),
    (
        facts.SECCOMP_AGENT,
        "giving the agent the listener of a filter that hooks are under",
        loading.give_listener,
    ),
    ("hooks.startContainer", "running the hooks", hooks.order_start_container),
    ("process.rlimits", "setting the limits", rlimits.set_all),
    ("process.args", "saying that the program is next", program.announce),
    ("linux.seccomp", "loading the filter", loading.load),
    (facts.SECCOMP_AGENT, "giving the agent the listener", loading.give_listener),
    ("process.args", "executing the program", program.execute),
)


def _with_label(row: Row[Last]) -> tuple[str, bytes, Row[Last]]:
    asked_by, words, _ = row
    kind = orders.EACH if "{number}" in words else ""
    return asked_by, orders.label(step.json_path(asked_by), words, kind), row


ROWS = tuple([_with_label(row) for row in LAST])


def write(last: Last) -> bytes:
    """The orders, row by row."""
    asked = _asked(last)
    for asked_by, label, row in ROWS:
        if asked_by in asked:
            last.orders.label = label
            row[2](last)
    return last.orders.finish(last.inside.sync)


def become_stage2(inside: Inside) -> NoReturn:
    """Write the orders, keep what stage 2 and the program are to have open, and become stage 2."""
    plan = inside.plan
    stdio.settle(inside.slash, plan.user()["uid"])
    first = 3 + plan.preserve_fds
    inside.sync = _above(inside.sync, first)
    stage2_fd = _above(inside.stage2_fd, first)
    last = Last(inside, first)
    orders_fd = _above(calls.memfd("pyrun-orders", write(last)), first)

    variables = environment.of(last.program, inside.slash) if last.program else []
    if plan.listen_fds:
        variables += [f"LISTEN_FDS={plan.listen_fds}", f"LISTEN_PID={last.pid()}"]
        variables = environment.once(variables)
    if not inside.keeps_affinity:
        process.all_cpus()
    process.default_signals(ENDING if last.listen_fd >= 0 else 0)
    calls.close_range_on_exec(first)
    for fd in range(3, first):
        posix.set_inheritable(fd, True)
    for fd in (inside.sync, last.listen_fd, last.waited_with, orders_fd, last.proc, *last.cgroups):
        if fd >= 0:
            posix.set_inheritable(fd, True)
    argv = last.program.get("args") or ["pyrun-init"]
    error = process.execveat(stage2_fd, "", argv, [str(orders_fd), *variables])
    if error.errno == errno.E2BIG:
        raise environment.too_long(last.program)
    raise failed("executing stage 2", error)


def _above(fd: int, first: int) -> int:
    """`fd`, or a copy of it, with a number that the program's preserved descriptors don't need."""
    held = []
    while 0 <= fd < first:
        held.append(fd)
        fd = posix.dup(fd)
    for number in held:
        posix.close(number)
    return fd
