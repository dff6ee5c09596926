"""What can be made of a model: the four variants, and the key under which one is remembered.

The key holds everything that decides a variant's bytes: the parent's content, the recipe, the
converter's lock and the text of the conversion itself. It never holds a name or a path, so a
cached variant can never stand in for another model's.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCES = "whisper*.py"


@dataclass(frozen=True)
class Recipe:
    """How one variant is made. `parameters` are those of its exporter or quantiser."""

    variant: str
    format: str
    """Runtime of its files: `onnx` or `openvino`."""
    precision: str
    """Of its weights: `fp32`, `fp16` or `int8`."""
    parameters: Mapping[str, str | bool] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The recipe as plain values, for `variant.json` and the key."""
        return asdict(self)


_WHISPER = (
    Recipe("onnx-fp32", "onnx", "fp32"),
    Recipe(
        "onnx-int8",
        "onnx",
        "int8",
        # Convolutions and embeddings stay FP32: quantising them too saves little and costs more
        # accuracy in the encoder (measured: a difference of .20 against .14).
        {"method": "dynamic", "operators": "MatMul", "per_channel": True},
    ),
    Recipe("openvino-fp16", "openvino", "fp16"),
    Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
)
RECIPES: Mapping[str, tuple[Recipe, ...]] = {"whisper": _WHISPER}
"""Recipes by kind; a child makes them in this order, each from the same FP32 graphs."""


def recipe_of(kind: str, variant: str) -> Recipe:
    """The recipe of a kind's `variant`. Raises UserError that lists the known ones."""
    known = {recipe.variant: recipe for recipe in RECIPES[kind]}
    if variant not in known:
        raise UserError(
            f"{variant!r} is not a variant of {kind}", remedy=f"there are {', '.join(known)}"
        )
    return known[variant]


def recipe_key(parent_digest: str, recipe: Recipe, environment_hash: str) -> str:
    """SHA-256, in hex, of everything that decides what a conversion's bytes will be."""
    return hashlib.sha256(
        canonical_json(
            {
                "parent": parent_digest,
                "recipe": recipe.to_json(),
                "environment": environment_hash,
                "conversion": conversion_hash(),
            }
        )
    ).hexdigest()


@cache
def conversion_hash() -> str:
    """SHA-256 of the modules that run in the converter: changed code makes new variants."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).resolve().parent.glob(_SOURCES)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
