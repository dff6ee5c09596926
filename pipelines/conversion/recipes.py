"""Recipes by name, and the key under which what one made is remembered.

The key holds everything that decides a variant's bytes: the parent's content, the recipe, the
calibration data, the converter's lock and the text of the conversion itself. It never holds a
name or a path, so a cached variant can never stand in for another model's.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.conversion.kinds import kind_of
from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from pipelines.conversion.kind import Recipe

_ROOM = Path(__file__).resolve().parent
_SHARED = ("formats/*.py", "hugging_face.py", "job.py", "text_*.py")
"""Modules beside the kinds' own that decide a variant's bytes."""


def recipe_of(kind: str, variant: str) -> Recipe:
    """The recipe of a kind's `variant`. Raises UserError that says why there is none."""
    chosen = kind_of(kind)
    known = {recipe.variant: recipe for recipe in (*chosen.recipes, *chosen.passed)}
    if variant in chosen.refused:
        raise UserError(
            f"{variant} does not suit {kind}: {chosen.refused[variant]}",
            remedy=f"there are {', '.join(known)}",
        )
    if variant not in known:
        raise UserError(
            f"{variant!r} is not a variant of {kind}", remedy=f"there are {', '.join(known)}"
        )
    return known[variant]


def recipe_key(
    kind: str, parent_digest: str, recipe: Recipe, environment_hash: str, calibration: str = ""
) -> str:
    """SHA-256, in hex, of everything that decides what a conversion's bytes will be.

    `calibration` is the hash of the calibration set; only recipes that use it depend on it.
    """
    return hashlib.sha256(
        canonical_json(
            {
                "parent": parent_digest,
                "recipe": recipe.to_json(),
                "environment": environment_hash,
                "conversion": conversion_hash(kind),
                "calibration": calibration if recipe.is_calibrated else "",
            }
        )
    ).hexdigest()


@cache
def conversion_hash(kind: str) -> str:
    """SHA-256 of the modules that make this kind's variants: changed code makes new ones."""
    digest = hashlib.sha256()
    own = _ROOM / kind_of(kind).package.rpartition(".")[2]
    shared = (path for pattern in _SHARED for path in sorted(_ROOM.glob(pattern)))
    for path in (*sorted(own.glob("*.py")), *shared):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOM)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
