"""pyrun seccomp-compile, for create alone: a profile on standard input to BPF on standard output. Cold module.

features/seccomp/compiling.py starts it, and makes an error of its own of what stands on standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyrun.base.errors import PyrunError, render

if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Compile one profile; 1 if it can't be compiled."""
    try:
        from pyrun.features.seccomp import compiler  # fails where libseccomp is missing

        return compiler.main()
    except PyrunError as error:
        sys.stderr.write(render(error) + "\n")
        return 1
