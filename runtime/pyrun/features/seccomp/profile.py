"""linux.seccomp: what stage 2 is to load, the filter's program and its flags.

Hot module. compiler.py makes the program of a profile, once; cache.py keeps it. loading.py says when it is loaded,
notify.py what an agent has to do with it. seccomp(2), config-linux.md § Seccomp.
"""

from __future__ import annotations

import posix

from pyrun.base import built
from pyrun.base.errors import PyrunError
from pyrun.features.seccomp import cache, compiling, notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Making

    Unsaved = tuple[str, str, bytes]  # what cache.store takes

#: What the program depends on, besides the machine.
INPUTS = ("defaultAction", "defaultErrnoRet", "architectures", "syscalls")
#: Actions by which a system call is never made.
REFUSING = (
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
)

_SPEC_ALLOW = 4
#: SECCOMP_FILTER_FLAG_*, linux/seccomp.h.
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": notify.TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": _SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": notify.WAIT_KILLABLE_RECV,
}


def prepare(making: Making) -> None:
    """Flags and program of the container's filter, for stage 2. Raises PyrunError if the profile can't be had."""
    profile = making.plan.linux["seccomp"]
    if making.plan.process:
        check_execve(profile)
        filter_program = program(profile, making.root + "/.seccomp", making.unsaved)
        making.inside.seccomp = flags(profile), filter_program


def keep(making: Making) -> None:
    """Put the program into the cache, if it isn't from there: in the end, as the container may need the room."""
    if making.unsaved:
        cache.store(*making.unsaved[0])


def flags(profile: types.Seccomp) -> int:
    """The flags for seccomp(2). A profile that has no `flags` gets SPEC_ALLOW, what Linux does since 5.16."""
    names = profile.get("flags")
    result = _SPEC_ALLOW if names is None else 0
    for index, name in enumerate(names or ()):
        if name not in _FLAGS:
            raise PyrunError(f"{name}: unknown flag", f"linux.seccomp.flags[{index}]")
        result |= _FLAGS[name]
    if notify.used(profile):
        return notify.flags(result)
    return result & ~notify.WAIT_KILLABLE_RECV  # only a listener has something to wait for


def check_execve(profile: types.Seccomp) -> None:
    """Raise PyrunError for a profile that refuses execve whatever its arguments.

    No program could ever be executed under it, and a filter that refuses the report as well would have the failure end
    in silence.
    """
    action = profile["defaultAction"]
    path = "defaultAction"
    conditional = False
    for index, rule in enumerate(profile.get("syscalls") or ()):
        if "execve" in rule["names"]:
            if not rule.get("args"):
                action, path, conditional = rule["action"], f"syscalls[{index}].action", False
                break
            conditional = True
    if action in REFUSING and not conditional:
        raise PyrunError(
            f"it is {action} for execve, so that the filter would refuse the program itself",
            f"linux.seccomp.{path}",
            "allow execve",
        )


def program(profile: types.Seccomp, cache_dir: str, later: list[Unsaved] | None = None) -> bytes:
    """Return the BPF program of a profile (`linux.seccomp`), an array of struct sock_filter, ready for seccomp(2).

    `cache_dir` is made when it is missing (its parent must be there). A cache that can't be used costs time,
    never a failure: who needs the space himself takes what there is to `store` `later`, when he has what he needs.
    Raises PyrunError with the JSON path for a profile that can't be compiled.
    """
    made_by = (built.VERSION, built.COMMIT, posix.uname().machine)
    key = repr((made_by, [profile.get(name) for name in INPUTS])).encode()
    entry = cache.Entry(cache_dir, key)
    found = entry.load()
    if found is None:
        library, found = compiling.compile_({key: value for key, value in profile.items() if key in INPUTS})
        unsaved = entry.unsaved(library, found)
        if later is None:
            cache.store(*unsaved)
        else:
            later.append(unsaved)
    return found
