"""Moves hours of the prediction log that are over from the workspace into its archive.

An hour is merged first, so that the archive holds few objects. Each part is written, read back and
compared by SHA-256, and only then deleted here; a part that stands in both places is read once.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from drift.record_hours import hours_of
from drift.record_parts import DamagedPartError, Hour, is_part, read_part
from pipelines.prediction_log_merge import merge_hour
from pipelines.prediction_log_places import (
    alone,
    archive_of,
    local_log,
    models_of,
    reached,
    settled,
    spoken_hour,
)
from pipelines.stages import announce
from registry.errors import IntegrityError, UserError

if TYPE_CHECKING:
    from drift.record_places import Place
    from pipelines.assembly import Platform


@dataclass(frozen=True, slots=True)
class ShippedHour:
    """What was moved of one hour of one release."""

    model: str
    release: int
    hour: str
    parts: int
    size: int
    """In bytes."""


def ship_log(platform: Platform, model: str = "", *, now: float) -> dict[str, Any]:
    """Move every settled hour of the model, or of all, into the archive.

    Raises UserError where no archive is set, RetryableEngineError when it cannot be reached or
    another command is at work, IntegrityError when it does not give back what was written.
    """
    workspace = platform.workspace
    archive = archive_of(workspace)
    if archive is None:
        raise UserError("no archive is set", where="sluice.toml", remedy="set [records] archive")
    local, done = local_log(workspace), []
    names = models_of(platform, model)
    with alone(workspace), reached(archive):
        for name in names:
            for hour in settled(platform, hours_of([local], name), now):
                announce(f"Shipping {name}: {spoken_hour(hour)}")
                done.append(ship_hour(local, archive, hour))
    return {"archive": archive.name, "hours": [asdict(one) for one in done if one.parts]}


def ship_hour(local: Place, archive: Place, hour: Hour) -> ShippedHour:
    """Merge an hour and move it. Damaged parts are moved as they are, for somebody to look at."""
    merge_hour(local, hour)
    parts = size = 0
    for name in filter(is_part, local.files(hour.folder)):
        content = local.read(f"{hour.folder}/{name}")
        _store(archive, hour, name, content)
        local.delete(f"{hour.folder}/{name}")
        parts, size = parts + 1, size + len(content)
    return ShippedHour(hour.model, hour.release, hour.folder.rpartition("=")[2], parts, size)


def _store(archive: Place, hour: Hour, name: str, content: bytes) -> None:
    """See to it that the archive holds these bytes."""
    digest = hashlib.sha256(content)
    path = f"{hour.folder}/{name}"
    there = _content(archive, path)
    if there is not None and there != content and _is_sound(there):
        # Another machine's: nothing of it may be lost.
        path = f"{hour.folder}/{name.removesuffix('.parquet')}-{digest.hexdigest()[:8]}.parquet"
        there = _content(archive, path)
    if there != content:
        archive.write(path, content)
        there = archive.read(path)
    if hashlib.sha256(there).digest() != digest.digest():
        raise IntegrityError(
            "the archive does not give back what was written; nothing was deleted here",
            where=f"{archive.name}/{path}",
            remedy="look at the store, remove the object, ship again",
        )


def _content(place: Place, path: str) -> bytes | None:
    try:
        return place.read(path)
    except FileNotFoundError:
        return None


def _is_sound(content: bytes) -> bool:
    try:
        read_part(content)
    except DamagedPartError:
        return False
    return True
