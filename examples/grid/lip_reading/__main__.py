"""`python -m lip_reading`: make a split, or clips to train on.

python -m lip_reading lips-evaluation data/lips-evaluation
python -m lip_reading lips-calibration data/lips-calibration
python -m lip_reading training clips.npz --count 3000 --seed 7
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lip_reading.clips import write_training_clips
from lip_reading.dataset import SPLITS, held_out_sentences, write_split


def main() -> int:
    """Parse the command line, write what it asks for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m lip_reading", description=__doc__)
    parser.add_argument("what", choices=[*SPLITS, "training"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--count", type=int, default=3000, help="training clips (default 3000)")
    parser.add_argument("--seed", type=int, default=7, help="of the training clips (default 7)")
    arguments = parser.parse_args()
    if arguments.what == "training":
        write_training_clips(arguments.path, arguments.count, arguments.seed, held_out_sentences())
        sys.stdout.write(f"{arguments.path}: {arguments.count} clips\n")
    else:
        digest = write_split(SPLITS[arguments.what], arguments.path)
        sys.stdout.write(f"{arguments.path}: sha256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
