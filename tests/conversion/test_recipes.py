from __future__ import annotations

import dataclasses

import pytest

from pipelines.conversion.recipes import RECIPES, Recipe, recipe_key, recipe_of
from registry.errors import UserError

PARENT, ENVIRONMENT = "a" * 64, "b" * 64
INT8 = recipe_of("whisper", "onnx-int8")


def test_key_is_the_same_for_the_same_conversion() -> None:
    assert recipe_key(PARENT, INT8, ENVIRONMENT) == recipe_key(PARENT, INT8, ENVIRONMENT)
    assert len(recipe_key(PARENT, INT8, ENVIRONMENT)) == 64


@pytest.mark.parametrize(
    ("parent", "recipe", "environment"),
    [
        ("c" * 64, INT8, ENVIRONMENT),
        (PARENT, INT8, "c" * 64),
        (PARENT, recipe_of("whisper", "onnx-fp32"), ENVIRONMENT),
        (PARENT, dataclasses.replace(INT8, parameters={"method": "dynamic"}), ENVIRONMENT),
    ],
)
def test_key_changes_with_whatever_decides_the_bytes(
    parent: str, recipe: Recipe, environment: str
) -> None:
    assert recipe_key(parent, recipe, environment) != recipe_key(PARENT, INT8, ENVIRONMENT)


def test_key_changes_with_the_conversions_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_key(PARENT, INT8, ENVIRONMENT)
    monkeypatch.setattr("pipelines.conversion.recipes.conversion_hash", lambda: "other")
    assert recipe_key(PARENT, INT8, ENVIRONMENT) != before


def test_variants_have_names_of_their_own() -> None:
    names = [recipe.variant for recipe in RECIPES["whisper"]]
    assert names == ["onnx-fp32", "onnx-int8", "openvino-fp16", "openvino-int8"]
    assert all(
        name == f"{r.format}-{r.precision}"
        for name, r in zip(names, RECIPES["whisper"], strict=False)
    )


def test_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="there are onnx-fp32, onnx-int8"):
        recipe_of("whisper", "onnx-int4")
