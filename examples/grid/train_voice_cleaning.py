"""Make the example cleaner: `python train_voice_cleaning.py --out models`.

Run it with the converter's interpreter. That environment has no synthesiser, so `--voice`
names the interpreter that does (the control plane's), which is called as a child.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from speech.dataset import FULL_WINDOW
from speech.synthesis import SAMPLE_RATE
from voice_cleaning.batches import TrainingPairs
from voice_cleaning.network import Cleaner, export
from voice_cleaning.scoring import score_checkpoint
from voice_cleaning.training import Budget, train
from voice_cleaning.transform import HOP, N_FFT, frames_of

HERE = Path(__file__).resolve().parent
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
        clips = arguments.clips or _spoken_clips(arguments.voice, Path(scratch), arguments.count)
        batches = TrainingPairs(clips, SEED).batches(arguments.batch, arguments.samples)
        train(model, batches, Budget(arguments.steps, arguments.minutes), _say)
    folder = arguments.out / NAME
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / "model.onnx", frames_of(WINDOW))
    (folder / "enhancement.json").write_text(json.dumps(ENHANCEMENT, indent=2) + "\n")
    scores = score_checkpoint(folder, arguments.dataset)
    for name, (noisy, cleaned) in scores.items():
        _say(f"{name}: SI-SDR {noisy:.2f} dB, cleaned {cleaned:.2f} dB, {cleaned - noisy:+.2f}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--dataset", type=Path, default=HERE / "data" / "cleaning-evaluation")
    parser.add_argument("--voice", type=Path, default=HERE.parents[1] / ".venv/bin/python")
    parser.add_argument("--clips", type=Path, help="clips already made by `python -m speech`")
    parser.add_argument("--count", type=int, default=3000, help="clips to train on")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--minutes", type=float, default=15, help="after which training ends too")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--samples", type=int, default=24_000, help="of a training clip")
    parser.add_argument("--threads", type=int, default=1)
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
