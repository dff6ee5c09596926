"""The recipes that a search may try, ordered from cheap and small to careful and larger.

A ladder starts from one recipe of a kind and changes its parameters step by step: scales for
each channel, another calibration, more of it, and the most sensitive layers kept in higher
precision. A recipe that is not one of the kind's own gets a name from a hash of its parameters:
the same recipe has the same name everywhere, and no two share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.conversion.kind import Recipe
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.conversion.kind import Kind

Change = Mapping[str, str | bool | int | float]
KEPT = (1, 2, 4, 8)
"""How many of the most sensitive layers stay in higher precision, one rung each."""
_STATIC: tuple[tuple[str, Change], ...] = (
    ("one scale a tensor", {"per_channel": False}),
    ("one scale a channel", {"per_channel": True}),
    ("outliers cut off", {"per_channel": True, "calibration": "percentile"}),
    ("ranges by entropy", {"per_channel": True, "calibration": "entropy"}),
)
_STEPS: Mapping[tuple[str, str, str], tuple[tuple[str, Change], ...]] = {
    ("onnx", "int8", "dynamic"): (
        ("one scale a tensor", {"per_channel": False}),
        ("one scale a channel", {"per_channel": True}),
    ),
    ("onnx", "int8", "static"): _STATIC,
    ("openvino", "int8", "weights"): (
        ("symmetric weights", {"mode": "int8_sym"}),
        ("asymmetric weights", {"mode": "int8_asym"}),
    ),
    ("openvino", "int4", "weights"): (
        ("groups of 128", {"mode": "int4_sym", "group_size": 128}),
        ("groups of 64", {"mode": "int4_sym", "group_size": 64}),
        ("groups of 32, asymmetric", {"mode": "int4_asym", "group_size": 32}),
        ("a fifth of the layers INT8", {"mode": "int4_asym", "group_size": 32, "ratio": 0.8}),
        ("half of the layers INT8", {"mode": "int4_asym", "group_size": 32, "ratio": 0.5}),
    ),
    ("openvino", "int8", "full"): (
        ("asymmetric activations", {"preset": "mixed"}),
        ("biases corrected slowly", {"preset": "mixed", "fast_bias_correction": False}),
    ),
}
_KEEPS = {
    ("onnx", "int8", "dynamic"),
    ("onnx", "int8", "static"),
    ("openvino", "int8", "full"),
    ("openvino", "int4", "weights"),
}
"""Methods for which keeping layers in higher precision is worth a sweep."""
_ALSO = (Recipe("onnx-int8-weights", "onnx", "int8", {"method": "weights"}),)
"""Recipes that every kind can have, and that a search tries unless the kind refuses them."""


@dataclass(frozen=True)
class Rung:
    """One recipe of a ladder and what is new about it."""

    recipe: Recipe
    what: str


@dataclass(frozen=True)
class Ladder:
    """One family: rungs from small to careful, then `keeps`, which need a ranking of layers."""

    name: str
    rungs: tuple[Rung, ...]
    keeps: tuple[int, ...] = ()

    def kept(self, base: Recipe, ranking: Sequence[str], count: int) -> Rung:
        """The rung that does as `base` but keeps the `count` most sensitive layers."""
        keep = ",".join(ranking[:count])
        recipe = replace(base, parameters={**base.parameters, "keep": keep})
        return Rung(named(self.name, recipe, f"k{count}"), f"{count} most sensitive layers kept")


def ladders(kind: Kind, *, calibrated: bool) -> tuple[Ladder, ...]:
    """A ladder for each of the kind's recipes but the reference, in the kind's order.

    Without calibration data (`calibrated`) the methods that need it are left out.
    """
    own = {recipe.variant for recipe in kind.recipes}
    also = [one for one in _ALSO if one.variant not in own and one.variant not in kind.refused]
    return tuple(
        ladder(recipe, kind.recipes)
        for recipe in (*kind.recipes[1:], *also)
        if calibrated or not recipe.is_calibrated
    )


def ladder(base: Recipe, own: Sequence[Recipe]) -> Ladder:
    """The ladder that starts from `base`; recipes equal to one of `own` keep that one's name."""
    key = (base.format, base.precision, str(base.parameters.get("method", "")))
    names = {identity(one): one.variant for one in own}
    rungs: dict[str, Rung] = {}
    for what, change in _STEPS.get(key, (("as it is", {}),)):
        recipe = replace(base, parameters={**base.parameters, **change})
        known = names.get(identity(recipe))
        recipe = replace(recipe, variant=known) if known else named(base.variant, recipe)
        rungs.setdefault(identity(recipe), Rung(recipe, what))
    return Ladder(base.variant, tuple(rungs.values()), KEPT if key in _KEEPS else ())


def identity(recipe: Recipe) -> str:
    """SHA-256, in hex, of all that decides what a recipe does: everything but its name."""
    values = {key: value for key, value in recipe.to_json().items() if key != "variant"}
    return hashlib.sha256(canonical_json(values)).hexdigest()


def named(base: str, recipe: Recipe, mark: str = "") -> Recipe:
    """The recipe under a name of its own: BASE[-MARK]-HASH, of letters, digits and dashes."""
    parts = (base, mark, identity(recipe)[:8])
    return replace(recipe, variant="-".join(part for part in parts if part))
