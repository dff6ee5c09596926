"""`python -m speech`: make a split, or clips to train on.

    python -m speech evaluation data/evaluation
    python -m speech live data/live
    python -m speech calibration data/calibration
    python -m speech training clips.npz --count 6000 --seed 7

One process makes one thing, because espeak-ng keeps state between clips.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from speech.dataset import SPLITS, write_split
from speech.training import write_training_clips


def main() -> int:
    """Parse the command line, write what it asks for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m speech", description=__doc__)
    parser.add_argument("what", choices=[*SPLITS, "training"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--count", type=int, default=6000, help="training clips (default 6000)")
    parser.add_argument("--seed", type=int, default=7, help="of the training clips (default 7)")
    arguments = parser.parse_args()
    if arguments.what == "training":
        write_training_clips(arguments.path, arguments.count, arguments.seed)
        sys.stdout.write(f"{arguments.path}: {arguments.count} clips\n")
    else:
        digest = write_split(SPLITS[arguments.what], arguments.path)
        sys.stdout.write(f"{arguments.path}: sha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
