"""What every training script does beside training: options, clips made by another interpreter."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIPS_TIMEOUT_S = 900


def options(description: str | None, *, threads: int = 2) -> argparse.ArgumentParser:
    """Options of every script; `add_clip_options` and the script itself add more."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--out", type=Path, default=HERE / "models")
    made.add_argument("--threads", type=int, default=threads)
    return made


def add_clip_options(made: argparse.ArgumentParser, package: str, *, count: int) -> None:
    """Options of a script that trains on clips of `package`."""
    made.add_argument("--voice", type=Path, default=HERE.parents[1] / ".venv/bin/python")
    made.add_argument("--clips", type=Path, help=f"clips made by `python -m {package} training`")
    made.add_argument("--count", type=int, default=count, help="clips to train on")


def made_clips(arguments: argparse.Namespace, package: str, folder: Path, seed: int) -> Path:
    """The clips that were named, or those that `package` makes where there is a synthesiser."""
    if arguments.clips:
        return Path(arguments.clips)
    path = folder / "clips.npz"
    wanted = ["--count", str(arguments.count), "--seed", str(seed)]
    command = [str(arguments.voice), "-m", package, "training", str(path), *wanted]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=CLIPS_TIMEOUT_S)
    return path


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
