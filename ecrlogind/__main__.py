"""`python -m ecrlogind`."""

import sys

from ecrlogind.cli import main

sys.exit(main())
