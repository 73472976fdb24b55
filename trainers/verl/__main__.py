"""`python -m simko.trainers.verl`: see `launch`."""

from __future__ import annotations

import sys

from ...store.errors import SimkoError
from .launch import PROGRAM, main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except SimkoError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(2)
