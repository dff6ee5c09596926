"""What one hour of the prediction log holds now, each part once, while others merge or move it.

A listing is made bit by bit and a part may go before it is read, so what is found is checked
against a second listing, and all of it looked at again when something went. Reads only.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drift.record_parts import (
    MERGED,
    DamagedPartError,
    Hour,
    Part,
    hour_of,
    is_part,
    read_part,
    release_of,
)
from drift.record_places import LocalPlace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drift.record_places import Place

    Root = Path | Place | Sequence[Path | Place]
    """A folder or another place, or several that hold one log together."""

_LOOKS = 8
"""At one hour whose parts are merged or moved just then."""


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """A file of the log that could not be read, and why."""

    path: str
    """Relative to the log's root."""
    reason: str


@dataclass(slots=True)
class Found:
    """The parts of one hour, of all places, none of which another replaces."""

    parts: dict[str, Part] = field(default_factory=dict)
    """By name."""
    skipped: list[SkippedPart] = field(default_factory=list)


def places_of(root: Root) -> tuple[Place, ...]:
    """`root` as places."""
    several = root if isinstance(root, list | tuple) else (root,)
    return tuple(LocalPlace(one) if isinstance(one, Path) else one for one in several)


def hours_of(places: Iterable[Place], model: str) -> list[Hour]:
    """Every hour of the model that has a folder in one of the places. Raises OSError."""
    found = set()
    for place in places:
        for folder in place.folders(f"model={model}"):
            number = release_of(folder)
            if number is None:
                continue
            began = map(hour_of, place.folders(f"model={model}/{folder}"))
            found |= {Hour(model, number, one) for one in began if one is not None}
    return sorted(found)


def find_parts(places: Sequence[Place], hour: Hour) -> Found:
    """What the hour holds now: each part once, also while others merge or move them.

    Raises OSError when a place cannot be reached, or parts vanish faster than they are read.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(0.01 * look)
        listed = _listed(places, hour)
        try:
            found = _read_listed(listed, hour)
        except FileNotFoundError:
            continue
        # A listing is not made at one moment: what a part replaces may be gone from it and the
        # part not be in it yet.
        if {name for name in _listed(places, hour) if name.startswith(MERGED)} <= set(listed):
            return found
    raise OSError(f"{hour.folder}: its parts changed during {_LOOKS} looks")


def _listed(places: Sequence[Place], hour: Hour) -> dict[str, list[Place]]:
    """Where each part is, the nearest place first."""
    listed: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        for name in place.files(hour.folder):
            if is_part(name):
                listed[name].append(place)
    return listed


def _read_listed(listed: dict[str, list[Place]], hour: Hour) -> Found:
    found = Found()
    replaced: set[str] = set()
    # Merged ones first: they say what else need not be read.
    for name in sorted(listed, key=lambda name: (not name.startswith(MERGED), name)):
        if name in replaced:
            continue
        reasons = []
        for place in listed[name]:
            try:
                part = read_part(place.read(f"{hour.folder}/{name}"))
            except DamagedPartError as error:
                reasons.append(str(error))
                continue
            found.parts[name] = part
            replaced |= part.replaces
            break
        else:
            found.skipped.append(SkippedPart(f"{hour.folder}/{name}", reasons[0]))
    for name in replaced & set(found.parts):
        del found.parts[name]
    return found
