"""The whole corpus of attacks, by name; each module adds its own when it is imported."""

from __future__ import annotations

from . import (
    attacks_archives,
    attacks_folders,
    attacks_keras,
    attacks_pickles,
    attacks_weights,
)
from .corpus import ATTACKS as FOUND
from .corpus import Attack

__all__ = ["ATTACKS", "MODULES", "Attack"]

ATTACKS: tuple[Attack, ...] = tuple(sorted(FOUND, key=lambda attack: attack.name))
MODULES = (
    attacks_pickles,
    attacks_weights,
    attacks_keras,
    attacks_folders,
    attacks_archives,
)
