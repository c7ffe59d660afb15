"""Leave the half-initialised interpreter: where and how the full one is started.

Hot module. Help, usage errors, `spec`, `features`, `validate` and the seccomp compiler want click, jsonschema and
libseccomp. They run in the full interpreter that the binary was built with, from the folder that was installed beside
it, isolated from the caller's environment and current directory. We never do this after we have seen a container's
file system.
"""

from __future__ import annotations

import posix
import sys

from pyrun.base import built
from pyrun.base.errors import PyrunError
from pyrun.kernel import calls

BINARY = "PYRUN_BINARY"  # the environment variable that tells the full interpreter where it came from
#: What the full interpreter runs: its arguments are the folder beside the binary ("" for modules that pip installed
#: for this interpreter), where that folder should be, and the command line. A module that is missing or can't be read
#: ends in one sentence, whether it is the first or one that is imported later.
BOOT = """
import sys
beside, wanted = sys.argv[1:3]
del sys.argv[1:3]
if beside:
    sys.path.insert(0, beside)
try:
    from pyrun.commandline.full import main
    status = main(sys.argv[1:])
except (ImportError, PermissionError) as error:
    state = "which is not whole" if beside else "which is not there"
    sys.exit(f"pyrun: this command needs the folder {wanted}, {state} ({error}): make install puts it there")
sys.exit(status)
"""


def command(arguments: list[str]) -> tuple[list[str], dict[bytes, bytes]]:
    """Return argv and the environment that run pyrun's `arguments` in a full interpreter."""
    environment = {
        name: value for name, value in posix.environ.items() if name[:6] != b"PYTHON" and name[:3] != b"LD_"
    }
    if not built.FROZEN:
        path = ":".join(folder for folder in sys.path if folder)
        environment[b"PYTHONPATH"] = path.encode()
        return [sys.executable, "-m", "pyrun.commandline.full", *arguments], environment
    binary = built.self_path()
    environment[BINARY.encode()] = binary.encode("utf-8", "surrogateescape")
    prefix = binary.rpartition("/")[0].rpartition("/")[0]
    library = f"{prefix}/lib/pyrun"
    if calls.exists(f"{library}/pyrun/commandline/full.py"):
        options = ["-I", "-S", "-X", "utf8", "-c", BOOT, library, library]
        return [built.PYTHON, *options, *arguments], environment
    python = f"{prefix}/bin/python" if calls.exists(f"{prefix}/pyvenv.cfg") else built.PYTHON
    return [python, "-I", "-X", "utf8", "-c", BOOT, "", library, *arguments], environment


def execute(arguments: list[str]) -> None:
    """Become the full interpreter. Raises PyrunError if it isn't there."""
    argv, environment = command(arguments)
    try:
        posix.execve(argv[0], argv, environment)
    except OSError as error:
        raise PyrunError(
            f"this command needs the Python interpreter {argv[0]}: {posix.strerror(error.errno or 0)}",
            hint="install it, or build pyrun again with the one you have",
        ) from None
