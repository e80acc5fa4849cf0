"""`python -m foreshock` is the command `foreshock`."""

import sys

from foreshock.cli import main

sys.exit(main())
