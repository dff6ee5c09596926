"""Make the three example checkpoints: `python train_whisper.py --out models`.

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

import torch

from recogniser.batches import TrainingClips
from recogniser.checkpoint import MAX_TOKENS, new_model, save_checkpoint, shortened
from recogniser.scoring import score_checkpoint
from recogniser.tokenizer import build_tokenizer
from recogniser.training import Schedule, reporter, train
from speech.dataset import FULL_WINDOW, SHORT_WINDOW

HERE = Path(__file__).resolve().parent
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
        clips = arguments.clips or _spoken_clips(arguments.voice, Path(scratch), arguments.count)
        batches = TrainingClips(clips, tokenizer, SEED).batches(arguments.batch)
    report = reporter(arguments.steps, _say)

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--voice", type=Path, default=HERE.parents[1] / ".venv/bin/python")
    parser.add_argument("--clips", type=Path, help="clips already made by `python -m speech`")
    parser.add_argument("--count", type=int, default=8000, help="clips to train on")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--undertrained-steps", type=int, default=450)
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


def _report_scores(out: Path) -> None:
    for name in (GOOD, UNDERTRAINED, SHORT):
        for split in ("evaluation", "live"):
            scores = score_checkpoint(out / name, HERE / "data" / split)
            rates = "  ".join(f"{part} {score.rate:.2%}" for part, score in scores.items())
            _say(f"{name} on {split} ({scores['all'].clips} clips): {rates}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
