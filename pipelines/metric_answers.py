"""Counters of the answers that programs recorded: how many, of how much audio, how sound.

They begin at 0 with the exporter. Each file of the prediction log is read once, the oldest first
and a bounded number at a scrape; copies of live requests are not counted.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client.core import Metric as Family

MOST_FILES = 200
"""That one scrape reads of one model, in some tenths of a second."""
_LATE_S = 60.0
"""The longest that a file appears after the end of its hour."""
_HOUR_S = 3600
_PART = re.compile(r"part-.*\.parquet")
_SIGNS = ("empty", "looping", "fallback")
_COLUMNS = ("shadow", "error", "duration_s", *_SIGNS)
_LABELS = ("model", "release")
_TOLD = {
    "answers": ("sluice_answers", "Requests that the model's program answered."),
    "failed": ("sluice_answers_failed", "Of them, with an error."),
    "empty": ("sluice_answers_empty", "Of them, with nothing in the answer."),
    "looping": ("sluice_answers_looping", "Of them, that repeat themselves."),
    "fallback": ("sluice_answers_fallback", "Of them, that a fallback gave."),
    "audio_s": ("sluice_audio_seconds", "Seconds of sound or video that were answered."),
}


@dataclass
class _Model:
    """What one model's files told, and which were read."""

    folder: Path
    since: float
    totals: dict[str, Counter[str]] = field(default_factory=dict)
    seen: dict[int, set[str]] = field(default_factory=dict)
    """Paths by hour, while more may come."""


class AnswerCounts:
    """Counts of all models below the prediction log `root`."""

    def __init__(self, root: Path, since: float) -> None:
        self._root, self._since = root, since
        self._models: dict[str, _Model] = {}

    def families(self, models: Iterable[str], now: float) -> Iterator[Family]:
        """Every counter, by model and release, as of `now` (UTC epoch seconds)."""
        found = {
            key: CounterMetricFamily(name, told, labels=_LABELS)
            for key, (name, told) in _TOLD.items()
        }
        for model in models:
            known = self._models.setdefault(
                model, _Model(self._root / f"model={model}", self._since)
            )
            _catch_up(known, now)
            for release, totals in sorted(known.totals.items()):
                for key, family in found.items():
                    family.add_metric((model, release), totals[key])
        yield from found.values()


def _catch_up(model: _Model, now: float) -> None:
    this_hour = int(now // _HOUR_S)
    hours = [this_hour] if now % _HOUR_S > _LATE_S else [this_hour - 1, this_hour]
    model.seen = {hour: model.seen.get(hour, set()) for hour in hours}
    read = 0
    for hour in hours:
        named = time.strftime("hour=%Y%m%d%H", time.gmtime(hour * _HOUR_S))
        for path in sorted(model.folder.glob(f"release=*/{named}/part-*.parquet")):
            if str(path) in model.seen[hour] or not _PART.fullmatch(path.name):
                continue
            if read == MOST_FILES:
                return
            read += 1
            model.seen[hour].add(str(path))
            release = path.parent.parent.name.removeprefix("release=")
            model.totals.setdefault(release, Counter()).update(_counts(path, model.since))


def _counts(path: Path, since: float) -> dict[str, float]:
    """Of one file; nothing of one that is older or cannot be read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        if path.stat().st_mtime < since:
            return {}
        with pq.ParquetFile(path) as file:
            table = file.read(columns=list(_COLUMNS), use_threads=False)
        table = table.filter(pc.invert(pc.fill_null(table["shadow"], fill_value=True)))
        counts = {sign: float(pc.sum(table[sign]).as_py() or 0) for sign in _SIGNS}
        failed = table.num_rows - table["error"].null_count
        audio = float(pc.sum(table["duration_s"]).as_py() or 0)
    except (OSError, pa.ArrowException, KeyError):
        return {}
    return {"answers": table.num_rows, "failed": failed, "audio_s": audio, **counts}
