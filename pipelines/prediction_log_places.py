"""Where a workspace's prediction log lies, and which of its hours nobody writes or follows now.

Servers write into the workspace; hours that are over may be moved into `[records] archive`.
Whoever reads the log reads both.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from drift.record_parts import Hour, hour_name
from drift.record_places import LocalPlace
from registry.errors import RetryableEngineError, UserError
from registry.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from drift.record_places import Place
    from pipelines.assembly import Platform
    from registry.workspace import Workspace

SETTLED_S = 900.0
"""After its end, an hour is not touched for so long: servers write late, readers look back."""
_BUSY_S = 10.0


def local_log(workspace: Workspace) -> Place:
    """The folder that servers write into."""
    return LocalPlace(workspace.predictions)


def archive_of(workspace: Workspace) -> Place | None:
    """The place that hours are moved to; None where none is set. Raises UserError."""
    address = workspace.settings.records.archive
    return open_place(address) if address else None


def open_place(address: str) -> Place:
    """`s3://bucket/prefix` or an absolute folder. Raises UserError for anything else."""
    if address.startswith("s3://"):
        return _bucket(address)
    if not address.startswith("/"):
        raise UserError(
            f"{address!r} is no place", remedy="write s3://bucket/prefix or an absolute folder"
        )
    return LocalPlace(Path(address))


@cache
def _bucket(address: str) -> Place:
    """One for all who ask, so that one connection and one word of its absence serve them all."""
    from infra.s3_place import S3Place

    return S3Place(address)


def log_places(workspace: Workspace) -> tuple[Place, ...]:
    """All places that hold the log, the nearest first."""
    archive = archive_of(workspace)
    return (local_log(workspace), *([archive] if archive else []))


def settled(platform: Platform, hours: Iterable[Hour], now: float) -> list[Hour]:
    """Those that may be merged, moved or deleted at `now`, UTC epoch seconds.

    Hours of a rollout under way are left as they are: what it counts, it counts by their files.
    """
    until: dict[str, float] = {}
    found = []
    for hour in hours:
        if hour.model not in until:
            rollout = platform.serving(hour.model).rollout
            until[hour.model] = min(now - SETTLED_S, rollout.started_at if rollout else now)
        if hour.ended <= until[hour.model]:
            found.append(hour)
    return found


def models_of(platform: Platform, model: str) -> tuple[str, ...]:
    """The model, or without a name every one of the workspace. Raises UserError."""
    if not model:
        return platform.workspace.model_names()
    platform.workspace.require_model(model)
    return (model,)


@contextmanager
def alone(workspace: Workspace) -> Iterator[None]:
    """Keep every other command of this workspace from changing the log's past meanwhile."""
    busy = "another command is changing the prediction log"
    with locked(workspace.run / "prediction-log.lock", timeout_s=_BUSY_S, busy=busy):
        yield


@contextmanager
def reached(place: Place) -> Iterator[None]:
    """What a place that does not answer means for a command: RetryableEngineError."""
    try:
        yield
    except OSError as error:
        raise RetryableEngineError(
            " ".join(str(error).split())[:200],
            where=place.name,
            remedy="nothing is lost; run the command again",
        ) from error


def spoken_hour(hour: Hour) -> str:
    """`release 3, 2026112102`."""
    return f"release {hour.release}, {hour_name(hour.began)}"
