"""Make the example CTC checkpoint: `python train_ctc_speech.py --out models`.

Run it with the converter's interpreter. That environment has no synthesiser, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

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
from training_run import HERE, add_clip_options, made_clips, options, say

if TYPE_CHECKING:
    import argparse

    from ctc_speech.network import WhisperForCTC

NAME = "ctc-grid"
SEED = 7


def main() -> int:
    """Train, save the checkpoint, and say how well it does on the splits."""
    arguments = _arguments()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    network = new_network(FULL_WINDOW)
    with tempfile.TemporaryDirectory() as scratch:
        clips = made_clips(arguments, "speech", Path(scratch), SEED)
        _train(network, clips, arguments)
    save_network(arguments.out / NAME, network)
    for split in ("evaluation", "live"):
        scores = score_network(arguments.out / NAME, HERE / "data" / split)
        rates = "  ".join(f"{part} {score.rate:.2%}" for part, score in scores.items())
        say(f"{NAME} on {split} ({scores['all'].clips} clips): {rates}")
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
        train(network, batches, tokenizer, schedule, reporter(schedule.steps, say))


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    add_clip_options(parser, "speech", count=8000)
    parser.add_argument("--steps", type=int, default=2700, help="batches with SpecAugment")
    parser.add_argument("--unmasked-steps", type=int, default=2200, help="batches without")
    parser.add_argument("--batch", type=int, default=32)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
