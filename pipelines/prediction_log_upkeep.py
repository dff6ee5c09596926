"""What the prediction log holds, and the deletion of what is older than it may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from drift.record_hours import find_parts, hours_of
from drift.record_parts import MERGED, Hour, hour_name, is_part
from pipelines.model_config import load_model_config
from pipelines.prediction_log_places import (
    alone,
    log_places,
    models_of,
    reached,
    settled,
    spoken_hour,
)
from pipelines.stages import announce
from registry.access import Action
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drift.record_places import Place
    from pipelines.assembly import Platform

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Holding:
    """One release's records in one place."""

    place: str
    release: int
    hours: int
    parts: int
    size: int
    """In bytes."""
    oldest: str
    """Hours, in UTC."""
    newest: str
    records: int
    dropped: int
    """Records that the servers lost and told of."""
    skipped: int
    """Parts that cannot be read."""


def log_status(platform: Platform, model: str) -> dict[str, Any]:
    """What each place holds of the model, by release. Every part is read.

    A place that does not answer is named in `unreachable`. Raises UserError for an unknown model.
    """
    platform.workspace.require_model(model)
    rows, away = [], []
    for place in log_places(platform.workspace):
        try:
            hours = hours_of([place], model)
            for release in sorted({hour.release for hour in hours}):
                held = _holding(place, [hour for hour in hours if hour.release == release])
                rows += [asdict(held)] if held.parts else []
        except OSError as error:
            away.append({"place": place.name, "reason": " ".join(str(error).split())[:200]})
    keep_days = platform.workspace.settings.records.keep_days
    return {"model": model, "held": rows, "unreachable": away, "keep_days": keep_days}


def prune_log(
    platform: Platform,
    model: str = "",
    *,
    now: float,
    keep_days: int = 0,
    is_rehearsal: bool = False,
) -> dict[str, Any]:
    """Delete the hours that ended more than `keep_days` before `now`, in every place.

    0 days: those of `[records] keep_days`. Hours that are not settled stay whatever is
    asked for. Raises UserError when no days are set, or fewer than a drift check looks back.
    """
    days = keep_days or platform.workspace.settings.records.keep_days
    names = models_of(platform, model)
    for name in names:
        platform.require(Action.DATA, name)
    _require_days(platform, names, days)
    deleted: list[dict[str, Any]] = []
    with alone(platform.workspace):
        for place in log_places(platform.workspace):
            with reached(place):
                for name in names:
                    for hour in settled(platform, hours_of([place], name), now):
                        if hour.ended > now - days * _DAY_S:
                            continue
                        announce(f"Pruning {name}: {spoken_hour(hour)}")
                        deleted += _delete(place, hour, is_rehearsal=is_rehearsal)
    return {"keep_days": days, "rehearsal": is_rehearsal, "deleted": deleted}


def _require_days(platform: Platform, names: Sequence[str], days: int) -> None:
    if days < 1:
        raise UserError(
            "nothing says how long records are kept",
            where="sluice.toml",
            remedy="set [records] keep_days, or give --keep-days",
        )
    for name in names:
        needed = load_model_config(platform.workspace, name).drift.reference_days + 1
        if days < needed:
            raise UserError(
                f"{name}'s drift checks look {needed} days back, and {days} would be kept",
                where=f"models/{name}.toml",
                remedy=f"keep {needed} days or lower [drift] reference_days",
            )


def _holding(place: Place, hours: Sequence[Hour]) -> Holding:
    parts = size = records = dropped = skipped = 0
    filled = []
    for hour in hours:
        files = {name: size for name, size in place.files(hour.folder).items() if is_part(name)}
        if not files:
            continue
        found = find_parts([place], hour)
        filled.append(hour)
        parts += len(files)
        size += sum(files.values())
        skipped += len(found.skipped)
        records += sum(part.table.num_rows for part in found.parts.values())
        dropped += sum(part.dropped for part in found.parts.values())
    return Holding(
        place=place.name,
        release=hours[0].release,
        hours=len(filled),
        parts=parts,
        size=size,
        oldest=hour_name(filled[0].began) if filled else "",
        newest=hour_name(filled[-1].began) if filled else "",
        records=records,
        dropped=dropped,
        skipped=skipped,
    )


def _delete(place: Place, hour: Hour, *, is_rehearsal: bool) -> list[dict[str, Any]]:
    """What was there; merged parts go last, so that nothing they replaced comes back."""
    files = place.files(hour.folder)
    if not is_rehearsal:
        for name in sorted(files, key=lambda name: (name.startswith(MERGED), name)):
            place.delete(f"{hour.folder}/{name}")
    if not files:
        return []
    row = {"place": place.name, "model": hour.model, "release": hour.release}
    row |= {"hour": hour_name(hour.began), "parts": sum(map(is_part, files))}
    return [row | {"size": sum(files.values())}]
