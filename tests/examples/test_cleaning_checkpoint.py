"""The example cleaner in the tree: plain files, accepted, and as good as it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion.voice_cleaning.source import facts, inspect

from ..warm_python import run

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MODEL = GRID / "models" / "cleaner-grid"
SCORE = """
import json, sys
from pathlib import Path
from voice_cleaning.scoring import score_checkpoint
print(json.dumps(score_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), every=5)))
"""


def test_the_checkpoint_is_two_small_files() -> None:
    assert {path.name for path in MODEL.iterdir()} == {"enhancement.json", "model.onnx"}
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 3_000_000
    enhancement = inspect(MODEL)
    assert (enhancement.sample_rate, enhancement.dims) == (16_000, (376, 257))
    assert 200_000 < facts(MODEL)["parameters"] < 800_000


@pytest.mark.engine
def test_it_cleans_at_every_level_and_every_noise() -> None:
    dataset = GRID / "data" / "cleaning-evaluation"
    if not dataset.is_dir():
        pytest.skip("the example data is not pulled")
    said = run(CONVERTER, "-c", SCORE, str(MODEL), str(dataset), folder=GRID)
    scores = json.loads(said)
    gains = {name: cleaned - noisy for name, (noisy, cleaned) in scores.items()}
    assert gains["all"] > 5
    assert min(gains.values()) > 1.5
