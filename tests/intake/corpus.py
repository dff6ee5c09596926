"""What an attack is: how it is made, where it comes from, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path, Path], "Path | None"]


@dataclass(frozen=True)
class Attack:
    """A folder or an archive that must not come in.

    `make(folder, canary)` writes into an empty folder, or returns the archive that it wrote;
    whatever runs of it would make `canary`. `said` is part of the refusal.
    """

    name: str
    source: str
    said: str
    make: Make


ATTACKS: list[Attack] = []


def attack(name: str, source: str, said: str) -> Callable[[Make], Make]:
    """Put a function into the corpus."""

    def add(make: Make) -> Make:
        ATTACKS.append(Attack(name, source, said, make))
        return make

    return add
