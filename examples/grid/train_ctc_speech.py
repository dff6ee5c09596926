"""Make the example CTC checkpoint: `python train_ctc_speech.py --out models`.

Run it with the converter's interpreter. That environment has no synthesiser, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ctc_speech.batches import UnmaskedClips
from ctc_speech.network import new_network, save_network
from ctc_speech.scoring import score_network
from ctc_speech.training import train
from recogniser.batches import TrainingClips
from recogniser.checkpoint import MAX_TOKENS
from recogniser.tokenizer import build_tokenizer
from recogniser.training import Schedule, reporter
from speech.dataset import FULL_WINDOW

if TYPE_CHECKING:
    from ctc_speech.network import WhisperForCTC

HERE = Path(__file__).resolve().parent
NAME = "ctc-grid"
SEED = 7


def main() -> int:
    """Train, save the checkpoint, and say how well it does on the splits."""
    arguments = _arguments()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    network = new_network(FULL_WINDOW)
    with tempfile.TemporaryDirectory() as scratch:
        clips = arguments.clips or _spoken_clips(arguments.voice, Path(scratch), arguments.count)
        _train(network, clips, arguments)
    save_network(arguments.out / NAME, network)
    for split in ("evaluation", "live"):
        scores = score_network(arguments.out / NAME, HERE / "data" / split)
        rates = "  ".join(f"{part} {score.rate:.2%}" for part, score in scores.items())
        _say(f"{NAME} on {split} ({scores['all'].clips} clips): {rates}")
    return 0


def _train(network: WhisperForCTC, clips: Path, arguments: argparse.Namespace) -> None:
    """A round with SpecAugment, which finds the timing, then one without, for the letters."""
    tokenizer = build_tokenizer(MAX_TOKENS)
    rounds = (
        (TrainingClips, Schedule(arguments.steps, peak=2e-3)),
        (UnmaskedClips, Schedule(arguments.unmasked_steps, peak=1.2e-3)),
    )
    for number, (kind, schedule) in enumerate(rounds):
        batches = kind(clips, tokenizer, SEED + number).batches(arguments.batch)
        train(network, batches, tokenizer, schedule, reporter(schedule.steps, _say))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--voice", type=Path, default=HERE.parents[1] / ".venv/bin/python")
    parser.add_argument("--clips", type=Path, help="clips already made by `python -m speech`")
    parser.add_argument("--count", type=int, default=8000, help="clips to train on")
    parser.add_argument("--steps", type=int, default=2700, help="batches with SpecAugment")
    parser.add_argument("--unmasked-steps", type=int, default=2200, help="batches without")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _spoken_clips(voice: Path, folder: Path, count: int) -> Path:
    path = folder / "clips.npz"
    wanted = ["--count", str(count), "--seed", str(SEED)]
    command = [str(voice), "-m", "speech", "training", str(path), *wanted]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=600)
    return path


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
