"""Make the example lip-reader: `python train_lip_reading.py --out models`.

Run it with the interpreter of the `keras` environment. That one has no espeak-ng, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from lip_reading.network import build, save
from lip_reading.scoring import score
from lip_reading.training import Clips, Schedule, train

HERE = Path(__file__).resolve().parent
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
    _say(f"{network.count_params()} parameters")
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.clips or _drawn_clips(arguments.voice, Path(scratch), arguments.count)
        clips = Clips(path)
    schedule = Schedule(arguments.aligned_steps, arguments.ctc_steps, arguments.batch, SEED)
    train(network, clips, schedule, _say)
    save(network, arguments.out / NAME)
    for split in SPLITS:
        if (HERE / "data" / split).is_dir():
            scores = score(network, HERE / "data" / split)
            rates = "  ".join(f"{part} {one.rate:.2%}" for part, one in scores.items())
            _say(f"{NAME} on {split} ({scores['all'].clips} clips): {rates}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--voice", type=Path, default=HERE.parents[1] / ".venv/bin/python")
    parser.add_argument("--clips", type=Path, help="clips made by `python -m lip_reading training`")
    parser.add_argument("--count", type=int, default=3200, help="clips to train on")
    parser.add_argument("--aligned-steps", type=int, default=700)
    parser.add_argument("--ctc-steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _drawn_clips(voice: Path, folder: Path, count: int) -> Path:
    path = folder / "clips.npz"
    wanted = ["--count", str(count), "--seed", str(SEED)]
    command = [str(voice), "-m", "lip_reading", "training", str(path), *wanted]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=900)
    return path


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
