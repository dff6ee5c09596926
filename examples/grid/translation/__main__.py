"""`python -m translation`: make a held-out set of commands and their Spanish.

python -m translation text-evaluation data/text-evaluation
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from translation.splits import SPLITS, write_split


def main() -> int:
    """Parse the command line, write what it asks for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m translation", description=__doc__)
    parser.add_argument("what", choices=[*SPLITS])
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    digest = write_split(SPLITS[arguments.what], arguments.path)
    sys.stdout.write(f"{arguments.path}: sha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
