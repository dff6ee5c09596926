"""The text checkpoints in the tree: small plain files that translate the evaluation set."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion.kinds import kind_of

from ..warm_python import run

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
KINDS = {"translation-grid": "translation", "llm-grid": "llm"}

every_checkpoint = pytest.mark.parametrize("name", KINDS)


@every_checkpoint
def test_a_checkpoint_is_small_and_of_its_kind(name: str) -> None:
    folder = GRID / "models" / name
    facts = kind_of(KINDS[name]).inspect(folder)
    assert 500_000 < facts["parameters"] < 1_000_000
    paths = list(folder.iterdir())
    assert sum(path.stat().st_size for path in paths) < 2_000_000
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o644}


@every_checkpoint
def test_weights_are_float16(name: str) -> None:
    with (GRID / "models" / name / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"F16"}


@pytest.mark.engine
@every_checkpoint
def test_evaluation_set_is_translated_exactly(name: str) -> None:
    program = (
        "import sys; from pathlib import Path; from translation.scoring import exact_match; "
        "print(exact_match(Path(sys.argv[1])))"
    )
    said = run(CONVERTER, "-c", program, str(GRID / "models" / name), folder=GRID)
    assert float(said) >= 0.97
