"""Merges the many small parts of an hour that is over into one for each release.

First the new part is written, which names those it replaces, then they are deleted; a reader passes
over what is replaced, so it finds every record once, whenever it looks and wherever this was
killed. What was left half-done is finished by the next run.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from drift.record_hours import hours_of
from drift.record_parts import (
    IMPORTED,
    MERGED,
    DamagedPartError,
    Hour,
    Part,
    is_part,
    merged_name,
    read_part,
    without_duplicates,
    write_part,
)
from drift.record_places import STAGED
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
    from collections.abc import Mapping

    from drift.record_places import Place
    from pipelines.assembly import Platform


@dataclass(frozen=True, slots=True)
class MergedHour:
    """What was done about one hour of one release."""

    model: str
    release: int
    hour: str
    before: int
    """Parts that were found."""
    after: int
    records: int
    """In the parts that were written."""
    duplicates: int
    """Records that stood in two parts and are now in one."""
    damaged: tuple[str, ...]
    """Names of parts that cannot be read; they stay as they are."""


def merge_log(
    platform: Platform, model: str = "", *, now: float, archive: bool = False
) -> dict[str, Any]:
    """Merge every settled hour of the model, or of all; in the archive only when asked.

    Raises UserError for an unknown model or where no archive is set, RetryableEngineError when the
    place cannot be reached or another command is at work.
    """
    workspace = platform.workspace
    place = archive_of(workspace) if archive else local_log(workspace)
    if place is None:
        raise UserError("no archive is set", where="sluice.toml", remedy="set [records] archive")
    done: list[MergedHour] = []
    names = models_of(platform, model)
    with alone(workspace), reached(place):
        for name in names:
            for hour in settled(platform, hours_of([place], name), now):
                announce(f"Merging {name}: {spoken_hour(hour)}")
                found = merge_hour(place, hour)
                if found.before != found.after or found.damaged:
                    done.append(found)
    return {"place": place.name, "hours": [asdict(one) for one in done]}


def merge_hour(place: Place, hour: Hour) -> MergedHour:
    """Merge one hour's parts; those that differ in their columns stay apart."""
    listed = place.files(hour.folder)
    parts, damaged = _read(place, hour, [name for name in listed if is_part(name)])
    replaced = set().union(*(part.replaces for part in parts.values())) & set(listed)
    for name in sorted(replaced):
        place.delete(f"{hour.folder}/{name}")
        parts.pop(name, None)
    for name in listed:
        # A server's own may be of one that writes just now.
        if name.startswith((f".{MERGED}", f".{IMPORTED}")) and name.endswith(STAGED):
            place.delete(f"{hour.folder}/{name}")
    after, records, duplicates = len(parts), 0, 0
    for group in _alike(parts):
        if len(group) < 2:
            continue
        tables, twice = without_duplicates([part.table for part in group.values()])
        merged = pa.concat_tables(tables).sort_by("at")
        _replace(place, hour, group, merged)
        after -= len(group) - 1
        records += merged.num_rows
        duplicates += twice
    return MergedHour(
        model=hour.model,
        release=hour.release,
        hour=hour.folder.rpartition("=")[2],
        before=sum(map(is_part, listed)),
        after=after + len(damaged),
        records=records,
        duplicates=duplicates,
        damaged=tuple(damaged),
    )


def _read(place: Place, hour: Hour, names: list[str]) -> tuple[dict[str, Part], list[str]]:
    parts, damaged = {}, []
    for name in names:
        try:
            parts[name] = read_part(place.read(f"{hour.folder}/{name}"))
        except DamagedPartError:
            damaged.append(name)
    return parts, damaged


def _alike(parts: Mapping[str, Part]) -> list[dict[str, Part]]:
    """By their columns: a program of another version may have written some of them."""
    groups: dict[str, dict[str, Part]] = defaultdict(dict)
    for name, part in parts.items():
        groups[str(part.table.schema)][name] = part
    return list(groups.values())


def _replace(place: Place, hour: Hour, group: Mapping[str, Part], merged: pa.Table) -> None:
    dropped = sum(part.dropped for part in group.values())
    path = f"{hour.folder}/{merged_name(group)}"
    content = write_part(merged, replaces=group, dropped=dropped)
    place.write(path, content)
    if hashlib.sha256(place.read(path)).digest() != hashlib.sha256(content).digest():
        raise IntegrityError(
            "the merged part is not what was written; the parts that it replaces were kept",
            where=f"{place.name}/{path}",
            remedy="look at the disk or the store, remove the file, merge again",
        )
    for name in sorted(group):
        place.delete(f"{hour.folder}/{name}")
