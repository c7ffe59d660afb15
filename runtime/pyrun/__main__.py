"""`python -m pyrun`: the same code, unfrozen, for hacking and debugging."""

import sys

from pyrun.main import main

sys.exit(main(sys.argv[1:]))
