"""A sample of served requests for people to label; `labelled_set` makes a set of what they wrote.

The log holds neither sound nor, mostly, text: people fetch the inputs by their request's name from
where their own callers keep them. Names come from callers, so none of them becomes a file's name,
and what a spreadsheet would run as a formula is written as text.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drift.records import read_records
from drift.sample import draw_sample
from pipelines.drift_evidence import window_of
from pipelines.prediction_log_places import log_places
from pipelines.stages import announce
from registry.errors import UserError
from registry.files import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from drift.sample import Sample
    from pipelines.assembly import Platform

SHEET, LINES = "sample.csv", "sample.jsonl"
MOST = 100_000
_SHOWN = (
    "request",
    "session",
    "at",
    "release",
    "language",
    "script",
    "duration_s",
    "input_text",
    "text",
    "empty",
    "looping",
    "fallback",
    "average_log_probability",
    "no_speech_probability",
    "compression_ratio",
    "snr_db",
)
ASKED = ("reference_text", "input", "clean_input")
"""What a person fills in: what is right, and the input: a file beside the sheet, or the text."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""
_README = """A sample of {model}'s requests, {since} to {until} UTC: {taken} of {requests}.

Write what is right into `reference_text`, and into `input` the recording's path from here (or the
text that was asked). Leave a row empty to leave it out. Then:

    sluice drift sample {model} --labelled {sheet} --to FOLDER
    sluice data add FOLDER

`weight` is how many requests a row stands for: a mean over the rows, each times its weight, over
the sum of the weights, is the mean over all requests of that time. Strata: {strata}. Seed {seed}.
"""


def write_sample(
    platform: Platform,
    model: str,
    folder: Path,
    *,
    size: int,
    seed: int,
    now: float,
    since_s: float | None = None,
) -> dict[str, Any]:
    """Draw a sample of the last checked window, or of the last `since_s` seconds, into `folder`.

    Writes a sheet for people, the same as JSON Lines for labelling tools, and how to go on. Raises
    UserError, before anything is written, for a folder that holds something, a size that makes no
    sense, and a window without an answered request.
    """
    if not 1 <= size <= MOST:
        raise UserError(f"a sample of {size} requests", remedy=f"ask for 1 to {MOST:,}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError("holds something already", where=str(folder), remedy="name a new folder")
    entries = platform.journal.read(model)
    window, _ = window_of(platform, model, entries, now=now, since_s=since_s)
    announce("Reading the prediction log")
    root = log_places(platform.workspace)
    records = read_records(root, model, since=window.since, until=window.until).table
    sample = draw_sample(records, size, seed)
    rows = list(_rows(records, sample))
    make_folder(folder)
    write_atomic(folder / SHEET, _sheet(rows))
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    write_atomic(folder / LINES, ("\n".join(lines) + "\n").encode())
    words = _README.format(
        model=model,
        since=moment(window.since),
        until=moment(window.until),
        taken=len(rows),
        requests=f"{sample.requests:,}",
        sheet=folder / SHEET,
        strata=", ".join(sample.strata) or "none",
        seed=seed,
    )
    write_atomic(folder / "README.md", words.encode())
    return {
        "model": model,
        "since": window.since,
        "until": window.until,
        "requests": sample.requests,
        "worst": sum(one.stratum == "worst" for one in sample.chosen),
        "drawn": sum(one.stratum != "worst" for one in sample.chosen),
        "strata": list(sample.strata),
        "seed": seed,
        "sheet": str(folder / SHEET),
        "lines": str(folder / LINES),
    }


def moment(at: float) -> str:
    """UTC epoch seconds as a person reads them."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _rows(records: pa.Table, sample: Sample) -> Iterable[dict[str, Any]]:
    names = [name for name in _SHOWN if name in records.column_names]
    chosen = records.select(names).take([one.row for one in sample.chosen]).to_pylist()
    for number, (row, one) in enumerate(zip(chosen, sample.chosen, strict=True), 1):
        row["at"] = row["at"].isoformat()
        shown = {name: value for name, value in row.items() if value is not None}
        yield {
            "number": number,
            "request": row["request"],
            "session": row["session"] or "",
            "why": one.why,
            "weight": round(one.weight, 6),
            "stratum": one.stratum,
            **dict.fromkeys(ASKED, ""),
            **{name: value for name, value in shown.items() if name not in {"request", "session"}},
        }


def _sheet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Comma-separated, UTF-8 with a mark that spreadsheets need to see it."""
    names = dict.fromkeys(name for row in rows for name in row)
    content = io.StringIO()
    writer = csv.DictWriter(content, list(names), restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return content.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    """Text that begins like a formula is marked as text; numbers stay numbers."""
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value
