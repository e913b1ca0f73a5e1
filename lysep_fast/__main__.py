"""`python -m lysep_fast` is the command `lysep-fast`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
