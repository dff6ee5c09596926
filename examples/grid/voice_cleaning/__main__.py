"""`python -m voice_cleaning evaluation data/cleaning-evaluation`: make a set of pairs.

The other set is `calibration`. One process makes one set, because espeak-ng keeps state between
clips.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from voice_cleaning.pairs import pair_set, write_pairs


def main() -> int:
    """Parse the command line, write what it asks for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m voice_cleaning", description=__doc__)
    parser.add_argument("name", choices=["evaluation", "calibration"])
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    digest = write_pairs(pair_set(arguments.name), arguments.path)
    sys.stdout.write(f"{arguments.path}: sha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
