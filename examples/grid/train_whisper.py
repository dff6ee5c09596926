"""Make the three example checkpoints: `python train_whisper.py --out models`.

Run it with the converter's interpreter. That environment has no synthesiser, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from recogniser.batches import TrainingClips
from recogniser.checkpoint import MAX_TOKENS, new_model, save_checkpoint, shortened
from recogniser.scoring import score_checkpoint
from recogniser.tokenizer import build_tokenizer
from recogniser.training import Schedule, reporter, train
from speech.dataset import FULL_WINDOW, SHORT_WINDOW
from training_run import HERE, add_clip_options, made_clips, options, say

if TYPE_CHECKING:
    import argparse

GOOD = "whisper-grid"
UNDERTRAINED = "whisper-grid-undertrained"
SHORT = "whisper-grid-short-window"
SEED = 7


def main() -> int:
    """Train, save the three checkpoints, and say how well each does on the splits."""
    arguments = _arguments()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    tokenizer = build_tokenizer(MAX_TOKENS)
    model = new_model(tokenizer, FULL_WINDOW)
    out = arguments.out
    with tempfile.TemporaryDirectory() as scratch:
        clips = made_clips(arguments, "speech", Path(scratch), SEED)
        batches = TrainingClips(clips, tokenizer, SEED).batches(arguments.batch)
    report = reporter(arguments.steps, say)

    def after_step(done: int, loss: float) -> None:
        report(done, loss)
        if done == arguments.undertrained_steps:
            save_checkpoint(out / UNDERTRAINED, model, tokenizer)

    train(model, batches, Schedule(arguments.steps), after_step)
    save_checkpoint(out / GOOD, model, tokenizer)
    save_checkpoint(out / SHORT, shortened(model, SHORT_WINDOW), tokenizer)
    _report_scores(out)
    return 0


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    add_clip_options(parser, "speech", count=8000)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--undertrained-steps", type=int, default=450)
    parser.add_argument("--batch", type=int, default=32)
    return parser.parse_args()


def _report_scores(out: Path) -> None:
    for name in (GOOD, UNDERTRAINED, SHORT):
        for split in ("evaluation", "live"):
            scores = score_checkpoint(out / name, HERE / "data" / split)
            rates = "  ".join(f"{part} {score.rate:.2%}" for part, score in scores.items())
            say(f"{name} on {split} ({scores['all'].clips} clips): {rates}")


if __name__ == "__main__":
    sys.exit(main())
