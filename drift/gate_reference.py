"""What a release's traffic is compared with before it has a past: its answers when it was gated.

The records that the serving program made of the evaluation set, without text, sound or names of
answers, and what they say of the word error rate. Made of values and read back from bytes; whoever
keeps the bytes also checks their hash.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drift.columns import is_numeric, values_of
from drift.comparable import Rows
from drift.quality_estimate import SIGNALS, QualityEstimate, fit_quality
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RECORDS, DESCRIPTION = "records.parquet", "reference.json"
_FORMAT = 1
_NOT_KEPT = frozenset({"release", "shadow", "pinned", "latency_ms"})
"""Who answered is the gate's own, and its requests wait for full batches as no caller does."""
_NAMES = frozenset({"session", "request", "script", "language", "error"})
"""The only columns of text that are kept: nothing that was said or answered is."""


@dataclass(frozen=True, slots=True)
class GateReference:
    """One row an utterance, whose name is both `request` and `session`.

    Each is a session of its own, because dealt against a caller's few requests a speaker's many
    would look calm. A speaker's utterances resemble each other, so more is called Watch than
    chance would allow; but the evaluation set is not the traffic either.
    """

    records: pa.Table
    asked: int
    """Utterances of the set; fewer rows mean that some records were lost."""
    dataset: str
    """SHA-256 of the set."""
    quality: QualityEstimate | None
    no_quality: str = ""
    """Why there is no estimate."""

    def to_files(self) -> dict[str, bytes]:
        """The same reference is always the same bytes."""
        content = io.BytesIO()
        pq.write_table(self.records, content, compression="zstd")
        description = {
            "format": _FORMAT,
            "records": self.records.num_rows,
            "records_sha256": hashlib.sha256(content.getvalue()).hexdigest(),
            "asked": self.asked,
            "dataset": self.dataset,
            "quality": self.quality.to_json() if self.quality else None,
            "no_quality": self.no_quality,
        }
        return {RECORDS: content.getvalue(), DESCRIPTION: canonical_json(description)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> GateReference:
        """Undo `to_files`. Raises UserError when the files are none."""
        try:
            body = json.loads(files[DESCRIPTION])
            table = pq.read_table(io.BytesIO(files[RECORDS]), use_threads=False)
            return _read(body, table, hashlib.sha256(files[RECORDS]).hexdigest())
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise UserError(
                f"not a reference of format {_FORMAT}: {' '.join(str(error).split())}",
                remedy="gate the variant again and publish what passes",
            ) from error

    def as_rows(self, release: int) -> Rows:
        """The records as those of `release`; columns that the log has since are not written."""
        fields = [
            field for field in PREDICTION_SCHEMA if field.name == "release" or _is_kept(field)
        ]
        rows = self.records.num_rows
        columns: list[pa.Array | pa.ChunkedArray] = []
        lacking = set()
        for field in fields:
            if field.name == "release":
                columns.append(pa.repeat(pa.scalar(release, field.type), rows))
            elif field.name in self.records.column_names:
                columns.append(self.records.column(field.name).cast(field.type))
            else:
                lacking.add(field.name)
                columns.append(pa.nulls(rows, field.type))
        table = pa.table(columns, schema=pa.schema(fields))
        return Rows(table, {release: frozenset(lacking)})


def reference_of(
    logged: pa.Table,
    utterances: Sequence[str],
    clusters: Sequence[str],
    dataset: str,
    wer: NDArray[np.float64] | None = None,
) -> GateReference | None:
    """The reference from what was logged while the set was asked; None when nothing was.

    `utterances` are ids in the set's order, `clusters` who each is of, and `wer` float64
    [utterances] the word error rate of each, NaN where it has none; None for what is not speech.
    A question that was asked twice counts as it was answered last.
    """
    asked = logged.column("request").to_pylist()
    newest = {name: row for row, name in enumerate(asked)}
    places = [place for place, name in enumerate(utterances) if name in newest]
    if not places:
        return None
    table = logged.take([newest[utterances[place]] for place in places])
    table = table.set_column(
        table.column_names.index("session"), "session", table.column("request")
    )
    kept = table.select([field.name for field in table.schema if _is_kept(field)])
    quality, reason = None, "it is no speech"
    if wer is not None:
        quality, reason = _quality(kept, wer[places], [clusters[place] for place in places])
    return GateReference(kept.combine_chunks(), len(utterances), dataset, quality, reason)


def _is_kept(field: pa.Field) -> bool:
    return field.name in _NAMES or (is_numeric(field.type) and field.name not in _NOT_KEPT)


def _quality(
    table: pa.Table, wer: NDArray[np.float64], clusters: Sequence[str]
) -> tuple[QualityEstimate | None, str]:
    """The estimate, or None and why there is none. Answers that failed are no part of it."""
    answered = pc.is_null(table.column("error")).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(answered & np.isfinite(wer))
    known = table.take(rows)
    columns = {name: values_of(known, name) for name in SIGNALS if name in known.column_names}
    try:
        return fit_quality(columns, wer[rows], [clusters[row] for row in rows.tolist()]), ""
    except UserError as error:
        return None, error.what


def _read(body: Mapping[str, Any], table: pa.Table, sha256: str) -> GateReference:
    if body["format"] != _FORMAT:
        raise ValueError(f"format {body['format']!r}")
    if body["records_sha256"] != sha256:
        raise ValueError(f"{RECORDS} is not the one that {DESCRIPTION} names")
    if "session" not in table.column_names:
        raise ValueError("the records have no session")
    quality = QualityEstimate.from_json(body["quality"]) if body["quality"] else None
    return GateReference(
        table, int(body["asked"]), str(body["dataset"]), quality, str(body["no_quality"])
    )
