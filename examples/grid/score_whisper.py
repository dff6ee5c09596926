"""Word error rate of a checkpoint: `python score_whisper.py models/whisper-grid data/evaluation`.

Run it with the converter's interpreter. It prints one JSON object: for each slice of the
split the word error rate and the number of clips, and how many clips outlast the window.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from recogniser.scoring import score_checkpoint


def main() -> int:
    """Score one checkpoint on the clips of one split that fit its window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dataset", type=Path)
    arguments = parser.parse_args()
    scores = score_checkpoint(arguments.checkpoint, arguments.dataset)
    spoken = json.loads((arguments.dataset / "dataset.json").read_text())["count"]
    slices = {
        name: {"wer": round(score.rate, 5), "clips": score.clips} for name, score in scores.items()
    }
    report = {"refused": spoken - scores["all"].clips, "slices": slices}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
