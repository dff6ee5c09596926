from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from pipelines.conversion import recipes
from pipelines.conversion.kind import Recipe
from pipelines.conversion.kinds import KINDS
from pipelines.conversion.recipes import conversion_hash, recipe_key, recipe_of
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

PARENT, ENVIRONMENT = "a" * 64, "b" * 64
INT8 = recipe_of("whisper", "onnx-int8")
STATIC = recipe_of("whisper", "onnx-int8-static")


def key(
    parent: str = PARENT,
    recipe: Recipe = INT8,
    environment: str = ENVIRONMENT,
    calibration: str = "",
    kind: str = "whisper",
) -> str:
    return recipe_key(kind, parent, recipe, environment, calibration)


def test_key_is_the_same_for_the_same_conversion() -> None:
    assert key() == key()
    assert len(key()) == 64
    assert key(recipe=Recipe.from_json(json.loads(json.dumps(INT8.to_json())))) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"parent": "c" * 64},
        {"environment": "c" * 64},
        {"recipe": recipe_of("whisper", "onnx-fp32")},
        {"recipe": dataclasses.replace(INT8, parameters={"method": "dynamic"})},
        {"kind": "lip-reading"},
    ],
)
def test_key_changes_with_whatever_decides_the_bytes(other: dict[str, str]) -> None:
    assert key(**other) != key()  # type: ignore[arg-type]  # values of several types


def test_calibration_data_decides_only_what_is_calibrated() -> None:
    assert key(calibration="d" * 64) == key()
    assert key(recipe=STATIC, calibration="d" * 64) != key(recipe=STATIC, calibration="e" * 64)


def test_key_changes_with_the_conversions_own_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = conversion_hash("whisper")
    for name in ("whisper", "formats", "llm"):
        (tmp_path / name).mkdir()
    (tmp_path / "whisper" / "graphs.py").write_text("one")
    monkeypatch.setattr(recipes, "_ROOM", tmp_path)
    hashes = [before]
    for path in ("whisper/graphs.py", "formats/onnx.py", "job.py"):
        (tmp_path / path).write_text("two")
        conversion_hash.cache_clear()
        hashes.append(conversion_hash("whisper"))
    assert len(set(hashes)) == 4
    (tmp_path / "llm" / "graphs.py").write_text("of another kind")
    conversion_hash.cache_clear()
    assert conversion_hash("whisper") == hashes[-1]
    monkeypatch.undo()
    conversion_hash.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_variants_have_names_of_their_own(kind: str) -> None:
    names = KINDS[kind].variants
    assert names[0] == KINDS[kind].reference == "onnx-fp32"
    assert len(set(names)) == len(names)
    assert not set(names) & set(KINDS[kind].refused)
    for recipe in KINDS[kind].recipes:
        assert recipe.variant.startswith(f"{recipe.format}-{recipe.precision}")


def test_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="there are onnx-fp32, onnx-fp16, onnx-int8"):
        recipe_of("whisper", "onnx-int4")


@pytest.mark.parametrize("kind", KINDS)
def test_variants_that_cannot_work_are_refused_with_their_reasons(kind: str) -> None:
    for name, reason in KINDS[kind].refused.items():
        with pytest.raises(UserError, match=f"does not suit {kind}: ") as caught:
            recipe_of(kind, name)
        assert reason in str(caught.value)
