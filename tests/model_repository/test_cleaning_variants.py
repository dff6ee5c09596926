"""Every variant of the example's cleaner, answering through the serving program and no server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from infra.environments.locks import CONVERTER, SERVING
from pipelines.conversion.voice_cleaning.kind import KIND
from registry.quiet import QUIET_ENVIRONMENT
from validation.dataset import Dataset
from validation.enhancement import improvement

from .. import warm_python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.conversion.child import ConvertedVariant

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
CLEAN_OFFLINE = Path(__file__).with_name("clean_offline.py")
EVERY = 4
"""One of so many evaluation clips is asked: 48, of every speaker, noise and level."""
LOSS_DB = 0.3
TORCH = """
import sys
from pathlib import Path
import numpy as np
from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.voice_cleaning.source import read_enhancement
from pipelines.conversion.voice_cleaning.transform import Transform
source = Path(sys.argv[1])
how = read_enhancement(source / "enhancement.json")
network, transform = open_graph(source / "model.onnx"), Transform(how)
with np.load(sys.argv[2]) as stored:
    sounds = {name: stored[name] for name in stored.files[:6]}
padded = transform.padded(list(sounds.values()))
cleaned = transform.sounds(padded, network(transform.inputs(padded))[how.output])
rows = {name: row[:one.size] for (name, one), row in zip(sounds.items(), cleaned)}
np.savez(sys.argv[3], **rows)
"""


@pytest.fixture(scope="module")
def made(checkpoints: Any, shared: Path) -> dict[str, ConvertedVariant]:
    source = checkpoints.MODELS / "cleaner-grid"
    return dict(checkpoints.all_variants("voice-cleaning", source, shared))


@pytest.fixture(scope="module")
def dataset(checkpoints: Any) -> Dataset:
    return Dataset.load(checkpoints.GRID / "data" / "cleaning-evaluation")


@pytest.fixture(scope="module")
def sounds(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / "sounds.npz"
    chosen = dataset.utterances[1::EVERY]
    np.savez(path, allow_pickle=False, **{one.id: dataset.question(one) for one in chosen})
    return path


@pytest.fixture(scope="module")
def answers(made: Mapping[str, ConvertedVariant], sounds: Path) -> dict[str, dict[str, Any]]:
    """Cleaned sounds by variant and clip."""
    cleaned = sounds.with_name("cleaned.npz")
    folders = [str(made[name].folder) for name in KIND.variants]
    run(SERVING.python, str(CLEAN_OFFLINE), str(sounds), str(cleaned), *folders)
    with np.load(cleaned) as stored:
        found: dict[str, dict[str, Any]] = {name: {} for name in KIND.variants}
        for key in set(stored.files) - {"ms"}:
            number, clip = key.split("/")
            found[KIND.variants[int(number)]][clip] = stored[key]
    return found


def run(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(python), *arguments],
        env=QUIET_ENVIRONMENT
        | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def improvements(dataset: Dataset, cleaned: Mapping[str, Any]) -> dict[str, float]:
    return {
        one.id: improvement(dataset.clean(one), dataset.question(one), cleaned[one.id])
        for one in dataset.utterances
        if one.id in cleaned
    }


@pytest.mark.parametrize("name", KIND.variants)
def test_no_variant_cleans_much_worse_than_fp32(
    dataset: Dataset, answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    reference = improvements(dataset, answers[KIND.reference])
    found = improvements(dataset, answers[name])
    assert len(found) == 48
    means = {
        key: float(np.mean(list(one.values()))) for key, one in (("r", reference), ("f", found))
    }
    assert means["r"] > 5
    assert means["f"] > means["r"] - LOSS_DB


def test_the_program_cleans_as_the_conversion_measures(
    checkpoints: Any, answers: Mapping[str, Mapping[str, Any]], sounds: Path
) -> None:
    expected = sounds.with_name("expected.npz")
    source = checkpoints.MODELS / "cleaner-grid"
    warm_python.run(CONVERTER, "-c", TORCH, str(source), str(sounds), str(expected))
    with np.load(expected) as stored:
        assert len(stored.files) == 6
        for name in stored.files:
            assert np.abs(answers["onnx-fp32"][name] - stored[name]).max() < 1e-5
