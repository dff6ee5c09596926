"""The list of kinds: each knows its own examples, and refuses those of every other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.conversion.kinds import KINDS, kind_of
from registry.errors import UserError

MODELS = Path(__file__).resolve().parents[2] / "examples" / "grid" / "models"
OWN = {
    "whisper": "whisper-grid",
    "ctc-speech": "ctc-grid",
    "translation": "translation-grid",
    "llm": "llm-grid",
    "lip-reading": "lips-grid",
    "voice-cleaning": "cleaner-grid",
}


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="there are whisper"):
        kind_of("marian")
    assert set(KINDS) == set(OWN)


@pytest.mark.parametrize("kind", OWN)
def test_a_kind_says_facts_of_its_example(kind: str) -> None:
    found = kind_of(kind).inspect(MODELS / OWN[kind])
    assert found
    assert all(isinstance(value, int | float) for value in found.values())


@pytest.mark.parametrize("folder", OWN.values())
@pytest.mark.parametrize("kind", OWN)
def test_a_folder_of_another_kind_is_refused_by_one_line(kind: str, folder: str) -> None:
    if OWN[kind] == folder:
        return
    with pytest.raises(UserError) as refused:
        kind_of(kind).inspect(MODELS / folder)
    assert "\n" not in str(refused.value)
    assert refused.value.remedy
