"""Make the example lip-reader: `python train_lip_reading.py --out models`.

Run it with the interpreter of the `keras` environment. That one has no espeak-ng, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from lip_reading.network import build, save
from lip_reading.scoring import score
from lip_reading.training import Clips, Schedule, train
from training_run import HERE, add_clip_options, made_clips, options, say

if TYPE_CHECKING:
    import argparse

NAME = "lips-grid"
SPLITS = ("lips-evaluation", "lips-calibration")
SEED = 7


def main() -> int:
    """Train, save the folder, and say how well it reads the splits that are on disk."""
    arguments = _arguments()
    keras.utils.set_random_seed(SEED)
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    network = build()
    say(f"{network.count_params()} parameters")
    with tempfile.TemporaryDirectory() as scratch:
        path = made_clips(arguments, "lip_reading", Path(scratch), SEED)
        clips = Clips(path)
    schedule = Schedule(arguments.aligned_steps, arguments.ctc_steps, arguments.batch, SEED)
    train(network, clips, schedule, say)
    save(network, arguments.out / NAME)
    for split in SPLITS:
        if (HERE / "data" / split).is_dir():
            scores = score(network, HERE / "data" / split)
            rates = "  ".join(f"{part} {one.rate:.2%}" for part, one in scores.items())
            say(f"{NAME} on {split} ({scores['all'].clips} clips): {rates}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    add_clip_options(parser, "lip_reading", count=3200)
    parser.add_argument("--aligned-steps", type=int, default=700)
    parser.add_argument("--ctc-steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
