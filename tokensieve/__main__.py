"""`python -m tokensieve` is the command `tokensieve`."""

import sys

from tokensieve.packages import main

if __name__ == "__main__":
    sys.exit(main())
