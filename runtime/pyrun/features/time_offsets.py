"""linux.timeOffsets: how far the clocks of the container's time namespace are ahead.

Hot module, loaded only for offsets. They can be set until the first process is in the namespace. So the init isn't born
in it: it makes the namespace for its children, sets the offsets, and then goes in. A namespace that is joined has its
offsets already; other ones are an error.
Sources: config-linux.md, Offset for Time Namespace; time_namespaces(7).
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, process
from pyrun.paths import proc_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Inside, Making

CLOCKS = ("monotonic", "boottime")
SECOND = 10**9  # nanoseconds
CAUSES = {
    errno.EPERM: "that needs CAP_SYS_TIME in the user namespace that the time namespace belongs to",
    errno.ERANGE: "a clock can't be before 0, nor after 146 years",
    errno.EINVAL: "this kernel has no time namespaces: they came with Linux 5.6, CONFIG_TIME_NS",
}


def prepare(making: Making) -> None:
    """In the parent: its /proc, by which the init knows itself in whatever mount namespace."""
    making.inside.time_proc = proc_files.open_proc()


def apply(inside: Inside) -> None:
    """In the init: be in the new time namespace, with these offsets; or look if a joined one has them. Raises
    PyrunError if the kernel refuses them, or the joined one has others."""
    proc = inside.time_proc
    offsets: dict[str, types.TimeOffset] = inside.plan.linux["timeOffsets"]
    try:
        link = "self"
        own = posix.readlink(link, dir_fd=proc)
        if inside.plan.has_new("time"):
            _make(proc, own, offsets)
        else:
            _compare(proc, own, offsets)
    except OSError as error:
        hint = CAUSES.get(error.errno or 0, "")
        raise failed("setting the clocks' offsets", error, "linux.timeOffsets", hint) from None
    finally:
        posix.close(proc)


def _make(proc: int, own: str, offsets: dict[str, types.TimeOffset]) -> None:
    process.unshare(process.CLONE_NEWTIME)
    for clock in CLOCKS:
        if clock in offsets:
            seconds, nanoseconds = offsets[clock].get("secs", 0), offsets[clock].get("nanosecs", 0)
            writing = proc_files.open_in_proc(proc, f"{own}/timens_offsets", posix.O_WRONLY)
            try:
                posix.write(writing, f"{clock} {seconds} {nanoseconds}".encode())
            except OSError as error:
                json_path = f"linux.timeOffsets.{clock}"
                failure = calls.failure("write", error.errno or 0, f"timens_offsets {seconds} {nanoseconds}")
                raise failed(
                    f"setting {clock}", failure, json_path, CAUSES.get(error.errno or 0, "")
                ) from None
            finally:
                posix.close(writing)
    # a link that only the kernel can follow, of the procfs that was checked
    namespace = posix.open(f"{own}/ns/time_for_children", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=proc)
    process.join(namespace, process.CLONE_NEWTIME)
    posix.close(namespace)


def _compare(proc: int, own: str, offsets: dict[str, types.TimeOffset]) -> None:
    reading = proc_files.open_in_proc(proc, f"{own}/timens_offsets", posix.O_RDONLY)
    try:
        lines = calls.read_all(reading, 4096).decode().splitlines()
    finally:
        posix.close(reading)
    has = {
        name: int(seconds) * SECOND + int(nano) for name, seconds, nano in [line.split() for line in lines]
    }
    for clock in CLOCKS:
        wanted = offsets.get(clock, {})
        offset = wanted.get("secs", 0) * SECOND + wanted.get("nanosecs", 0)
        if has.get(clock, 0) != offset:
            raise PyrunError(
                f"the time namespace that is joined has {clock} {has.get(clock, 0)} ns ahead, not {offset} ns",
                "linux.timeOffsets",
                "its offsets can't be changed: leave them out, or join another",
            )
