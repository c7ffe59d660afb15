"""`python -m pyrun`: the same code, unfrozen, for hacking, debugging and coverage."""

import sys

from pyrun.main import main

sys.exit(main(sys.argv[1:]))
