from __future__ import annotations

import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from infra import advisers
from infra.advisers import advise
from registry.errors import PermanentEngineError, RetryableEngineError
from tests.conversion.checkpoints import GRID

if TYPE_CHECKING:
    from pathlib import Path

MODELS = sorted(path for path in (GRID / "models").iterdir() if path.is_dir())


class Harm:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_nothing_is_held_against_the_examples(tmp_path: Path) -> None:
    for model in MODELS:
        shutil.copytree(model, tmp_path / model.name)
    (tmp_path / "weights.data").write_bytes(np.arange(999, dtype=np.float32).tobytes())
    np.save(tmp_path / "table.npy", np.zeros(3))
    advice = advise(tmp_path)
    assert advice.refusals == ()
    assert [line.split(": ")[0] for line in advice.not_looked_at] == ["lips-grid/model.keras"]
    assert [words.split()[0] for words in advice.versions] == ["modelscan", "fickling"]


def test_a_pickle_is_found_by_its_content_and_by_its_name(tmp_path: Path) -> None:
    payload = pickle.dumps(Harm(f"touch {tmp_path / 'harmed'}"))
    for name in ("model.pkl", "config.json"):
        (tmp_path / name).write_bytes(payload)
    advice = advise(tmp_path)
    assert any(line.startswith("model.pkl: modelscan: CRITICAL:") for line in advice.refusals)
    told = [line for line in advice.refusals if ": fickling: " in line]
    assert [line.split(":")[0] for line in told] == ["config.json", "model.pkl"]
    assert not (tmp_path / "harmed").exists()


def test_a_broken_archive_is_held_against_it(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04 and nothing that follows")
    (refusal,) = advise(tmp_path).refusals
    assert refusal.startswith("model.zip: modelscan: ")


def test_an_adviser_that_fails_or_hangs_is_an_error_and_no_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(RetryableEngineError, match="took longer than"):
        advise(tmp_path, timeout_s=0.05)
    monkeypatch.setattr(advisers, "_FOUND", 99)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Harm("true")))
    with pytest.raises(PermanentEngineError, match="modelscan ended with code 1"):
        advise(tmp_path)
