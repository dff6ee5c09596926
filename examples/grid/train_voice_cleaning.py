"""Make the example cleaner: `python train_voice_cleaning.py --out models`.

Run it with the converter's interpreter. That environment has no synthesiser, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speech.dataset import FULL_WINDOW
from speech.synthesis import SAMPLE_RATE
from training_run import HERE, add_clip_options, made_clips, options, say
from voice_cleaning.batches import TrainingPairs
from voice_cleaning.network import Cleaner, export
from voice_cleaning.scoring import score_checkpoint
from voice_cleaning.training import Budget, train
from voice_cleaning.transform import HOP, N_FFT, frames_of

if TYPE_CHECKING:
    import argparse

NAME = "cleaner-grid"
SEED = 11
WINDOW = int(FULL_WINDOW * SAMPLE_RATE)
ENHANCEMENT = {
    "representation": "spectrogram-mask",
    "sample_rate": SAMPLE_RATE,
    "window_samples": WINDOW,
    "input": "magnitude",
    "output": "mask",
    "n_fft": N_FFT,
    "hop": HOP,
    "window": "hann",
}
"""What `enhancement.json` says of the checkpoint."""


def main() -> int:
    """Train, save the checkpoint, and say how much it cleans the evaluation set."""
    arguments = _arguments()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    model = Cleaner()
    with tempfile.TemporaryDirectory() as scratch:
        clips = made_clips(arguments, "speech", Path(scratch), SEED)
        batches = TrainingPairs(clips, SEED).batches(arguments.batch, arguments.samples)
        train(model, batches, Budget(arguments.steps, arguments.minutes), say)
    folder = arguments.out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / "model.onnx", frames_of(WINDOW))
    (folder / "enhancement.json").write_text(json.dumps(ENHANCEMENT, indent=2) + "\n")
    scores = score_checkpoint(folder, arguments.dataset)
    for name, (noisy, cleaned) in scores.items():
        say(f"{name}: SI-SDR {noisy:.2f} dB, cleaned {cleaned:.2f} dB, {cleaned - noisy:+.2f}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = options(__doc__, threads=1)
    parser.add_argument("--dataset", type=Path, default=HERE / "data" / "cleaning-evaluation")
    add_clip_options(parser, "speech", count=3000)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--minutes", type=float, default=15, help="after which training ends too")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--samples", type=int, default=24_000, help="of a training clip")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
