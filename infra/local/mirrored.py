"""Joins the two answers to each mirrored request, from the prediction log's files.

A server writes its records a moment later, one release before the other. So a pair's time is when
the second of its two files appeared, which is the same for every reader, and a pair that comes late
is never passed over. Damaged files are left out.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from canary.ports import Output, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LATE_S = 60.0
"""The longest that one release's record waits for the other's."""
MOST_ROWS = 200_000
"""Records that are kept in memory; the oldest files go first."""
_COLUMNS = {
    "request": "",
    "session": "",
    "shadow": None,
    "empty": False,
    "looping": False,
    "fallback": False,
    "token_count": 0,
    "average_log_probability": math.nan,
    "latency_ms": 0.0,
    "text_hash": "",
    "error": None,
}
"""What is read, and what it is where a release's program does not record it."""

Row = dict[str, Any]


class MirroredAnswers:
    """The pairs in the prediction log below `root`. A file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rows: OrderedDict[Path, dict[str, Row]] = OrderedDict()

    def pairs(self, model: str, baseline: int, candidate: int, after: float) -> tuple[Pair, ...]:
        """Requests that both answered, of which the second record came after `after`.

        In the order of their appearance; times in seconds since 1970.
        """
        answered = self._answers(model, baseline, after - LATE_S)
        copied = self._answers(model, candidate, after - LATE_S)
        found = []
        for request, (at, row) in copied.items():
            other = answered.get(request)
            # A log of older programs has no `shadow`: one name in both logs says it then.
            if other is None or row["shadow"] is False or other[1]["shadow"]:
                continue
            seen = max(at, other[0])
            if seen > after:
                outputs = _output(other[1]), _output(row)
                found.append(Pair(request, row["session"] or request, seen, *outputs))
        self._forget()
        return tuple(sorted(found, key=lambda pair: (pair.at, pair.request)))

    def _answers(self, model: str, release: int, since: float) -> Mapping[str, tuple[float, Row]]:
        found: dict[str, tuple[float, Row]] = {}
        for path, at in self._parts(model, release, since):
            if path not in self._rows:
                self._rows[path] = _read(path)
            self._rows.move_to_end(path)
            found |= {request: (at, row) for request, row in self._rows[path].items()}
        return found

    def _parts(self, model: str, release: int, since: float) -> Iterator[tuple[Path, float]]:
        """Files that appeared since `since`, and when. Their hours are those of their records."""
        folder = self._root / f"model={model}" / f"release={release}"
        oldest = time.strftime("hour=%Y%m%d%H", time.gmtime(since - LATE_S))
        for hour in sorted(folder.glob("hour=*")):
            for path in sorted(hour.glob("part-*.parquet")) if hour.name >= oldest else ():
                at = path.stat().st_mtime
                if at > since:
                    yield path, at

    def _forget(self) -> None:
        while len(self._rows) > 1 and sum(map(len, self._rows.values())) > MOST_ROWS:
            self._rows.popitem(last=False)


def _read(path: Path) -> dict[str, Row]:
    """Rows with a request's name, by it; nothing of a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in _COLUMNS if name in file.schema_arrow.names]
            rows = file.read(columns=names).to_pylist()
    except (OSError, pa.ArrowException):
        return {}
    return {row["request"]: _COLUMNS | row for row in rows if row.get("request")}


def _output(row: Row) -> Output:
    def value(name: str) -> Any:
        return _COLUMNS[name] if row[name] is None else row[name]

    return Output(
        empty=bool(value("empty")),
        looping=bool(value("looping")),
        fallback=bool(value("fallback")),
        length=int(value("token_count")),
        log_probability=float(value("average_log_probability")),
        latency_ms=float(value("latency_ms")),
        text_hash=str(value("text_hash")),
        error=row["error"] is not None,
    )
