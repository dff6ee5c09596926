"""Takes a user's own records into the prediction log: checked as a whole, or not taken at all.

A record that the log has already is passed over, so a file may be imported again, also after a run
that was killed. Rows are named by their number in their file, from 0.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from drift.record_hours import find_parts
from drift.record_parts import HOUR_S, IMPORTED, Hour, conform, write_part
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.prediction_log_columns import Conformed, conform_theirs, parse_mapping
from pipelines.prediction_log_places import alone, archive_of, local_log, log_places, reached
from pipelines.stages import announce
from registry.access import Action
from registry.errors import UserError
from validation.record_contracts import check_predictions_contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from drift.record_places import Place
    from pipelines.assembly import Platform

MOST_BYTES = 4 << 30
_CLOCK_S = 60.0


def import_records(
    platform: Platform,
    model: str,
    files: Sequence[Path],
    *,
    mapping: Sequence[str] = (),
    release: int | None = None,
    now: float,
    archive: bool = False,
) -> dict[str, Any]:
    """Import Parquet or JSON Lines files. `refused` is not empty when nothing was taken.

    `mapping` has items such as `latency_ms=took`. Raises UserError for a file that cannot be read,
    a model that is not known and a mapping that fits nothing; RetryableEngineError when a place
    cannot be reached.
    """
    platform.workspace.require_model(model)
    platform.require(Action.DATA, model)
    wanted = parse_mapping(mapping)
    target = archive_of(platform.workspace) if archive else local_log(platform.workspace)
    if target is None:
        raise UserError("no archive is set", remedy="set [records] archive in sluice.toml")
    tables, refused, unused = [], [], set()
    for path in files:
        announce(f"Checking {path.name}")
        found = _conformed(path, wanted, model, release)
        refused += [f"{path.name}: {sentence}" for sentence in _broken(found, now)]
        unused |= set(found.unused)
        tables.append((_digest(path), found.table))
    told: dict[str, Any] = {
        "model": model,
        "rows": sum(table.num_rows for _, table in tables),
        "unused": sorted(unused),
        "refused": refused,
    }
    if refused:
        return told | {"imported": 0, "known": 0, "parts": []}
    with alone(platform.workspace), reached(target):
        parts, known = _news(log_places(platform.workspace), model, tables)
        _write(target, parts)
    imported = sum(table.num_rows for _, table in parts.values())
    return told | {"imported": imported, "known": known, "parts": sorted(parts)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _conformed(
    path: Path, mapping: Mapping[str, str], model: str, release: int | None
) -> Conformed:
    try:
        theirs = _read(path)
        return conform_theirs(theirs, mapping, model=model, release=release)
    except (pa.ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:200]
        raise UserError(words, where=str(path), remedy="nothing was imported") from error
    except UserError as error:
        raise UserError(error.what, where=str(path), remedy=error.remedy) from error


def _read(path: Path) -> pa.Table:
    import pyarrow.json
    import pyarrow.parquet as pq

    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"it has more than {MOST_BYTES >> 30} GiB", remedy="import it in pieces")
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read()
    if path.suffix in {".jsonl", ".ndjson"}:
        return pyarrow.json.read_json(path)
    raise UserError("a file of no known kind", remedy="import .parquet, .jsonl or .ndjson")


def _broken(found: Conformed, now: float) -> list[str]:
    """Sentences for what the contract does not let pass."""
    if found.refused:
        return list(found.refused)
    latest = datetime.fromtimestamp(now + _CLOCK_S, UTC)
    report = check_predictions_contract(found.table, PREDICTION_SCHEMA, latest=latest)
    return [outcome.sentence for outcome in report.broken]


def _news(
    places: Sequence[Place], model: str, tables: Iterable[tuple[str, pa.Table]]
) -> tuple[dict[str, tuple[bytes, pa.Table]], int]:
    """New parts by path, each with its bytes; and how many records the log has already."""
    parts, known = {}, 0
    seen: dict[Hour, Counter[str]] = {}
    for digest, table in tables:
        for hour, rows in _by_hour(table, model).items():
            if hour not in seen:
                seen[hour] = _recorded(places, hour)
            before, own, fresh = seen[hour], Counter[str](), []
            for row, identity in enumerate(_identities(rows)):
                own[identity] += 1
                if own[identity] > before[identity]:
                    fresh.append(row)
            seen[hour] = before | own
            known += rows.num_rows - len(fresh)
            if fresh:
                kept = rows.take(fresh)
                content = write_part(kept)
                own_digest = hashlib.sha256(content).hexdigest()[:8]
                name = f"{IMPORTED}{digest[:16]}-{own_digest}.parquet"
                parts[f"{hour.folder}/{name}"] = (content, kept)
    return parts, known


def _by_hour(table: pa.Table, model: str) -> dict[Hour, pa.Table]:
    seconds = pc.divide(table.column("at").cast(pa.int64()), 1_000_000).to_pylist()
    rows: dict[Hour, list[int]] = defaultdict(list)
    releases = table.column("release").to_pylist()
    for row, (second, release) in enumerate(zip(seconds, releases, strict=True)):
        rows[Hour(model, release, second // HOUR_S * HOUR_S)].append(row)
    return {hour: table.take(taken).sort_by("at") for hour, taken in sorted(rows.items())}


def _recorded(places: Sequence[Place], hour: Hour) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in find_parts(places, hour).parts.values():
        found.update(_identities(conform(part.table, hour)[0]))
    return found


def _identities(table: pa.Table) -> list[str]:
    """A record is known by its request and time, one without a request by all that it says."""
    return [
        f"{row['request']} {row['at']}" if row["request"] else repr(sorted(row.items()))
        for row in table.to_pylist()
    ]


def _write(place: Place, parts: Mapping[str, tuple[bytes, pa.Table]]) -> None:
    written = []
    try:
        for path, (content, _) in parts.items():
            written.append(path)
            place.write(path, content)
    except OSError:
        for path in written:
            place.delete(path)
        raise
