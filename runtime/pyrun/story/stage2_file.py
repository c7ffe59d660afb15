"""The file that stage 2 is executed from: nobody can ever change it, root of a container included.

Hot module. It is a sealed file of memory; where the machine forbids executable ones (sysctl vm.memfd_noexec=2), a
file of a tmpfs of its own, which is mounted nowhere and read-only for good.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.built import STAGE2
from pyrun.base.errors import PyrunError, words
from pyrun.kernel import calls, mounts

# Who may execute a program but not read it can't be looked into from its first moment on (PR_SET_DUMPABLE in
# prctl(2)). That is so for root of a user namespace that has no id for the file's owner; other root may read it.
EXECUTE_ONLY = 0o111


def make(name: str) -> int:
    """Return a descriptor of the file. Raises PyrunError where the machine allows none, OSError if a call fails."""
    try:
        return calls.sealed_memfd(name, bytes(STAGE2), EXECUTE_ONLY)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
    try:
        return _on_tmpfs(name)
    except OSError as error:
        raise PyrunError(
            f"making an executable file of memory: access refused; making one in a tmpfs: {words(error)}",
            hint="sysctl vm.memfd_noexec is 2, which forbids the former; 0 and 1 allow it",
        ) from None


def _on_tmpfs(name: str) -> int:
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE)
    folder = mounts.fsmount(context, 0)
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | calls.O_CLOEXEC
    writing = posix.open(name, flags, 0o700, dir_fd=folder)
    calls.write_all(writing, bytes(STAGE2))
    posix.fchmod(writing, EXECUTE_ONLY)
    posix.close(writing)
    mounts.mount_setattr(folder, False, mounts.MOUNT_ATTR_RDONLY, 0)
    mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, "ro")
    mounts.fsconfig(context, mounts.FSCONFIG_CMD_RECONFIGURE)
    fd = posix.open(name, posix.O_RDONLY | calls.O_CLOEXEC, dir_fd=folder)
    posix.close(folder)  # with it the mount ends, and no way leads to the file any more
    posix.close(context)
    return fd
