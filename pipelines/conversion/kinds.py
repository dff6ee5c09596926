"""The one list of kinds of model, and where each kind's parts are.

A new kind is one entry here, an inspector, a converter module and a serving program; nothing
else in the house asks what kind a model is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.conversion import whisper_source
from pipelines.conversion.recipes import RECIPES
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """One kind of model."""

    name: str
    inspect: Callable[[Path], Mapping[str, float]]
    """Facts of a source folder, none of which opens it by a framework; raises UserError."""
    converter: str
    """The module that the converter's interpreter runs."""
    variants: tuple[str, ...]
    program: str
    """Folder of its serving program below `model_repository/programs`."""


WHISPER = Kind(
    name="whisper",
    inspect=whisper_source.facts,
    converter="pipelines.conversion.whisper",
    variants=tuple(recipe.variant for recipe in RECIPES["whisper"]),
    program="whisper",
)

KINDS = {kind.name: kind for kind in (WHISPER,)}


def kind_of(name: str) -> Kind:
    """The kind called `name`. Raises UserError that lists the known ones."""
    if name not in KINDS:
        raise UserError(f"{name!r} is not a kind of model", remedy=f"there are {', '.join(KINDS)}")
    return KINDS[name]
