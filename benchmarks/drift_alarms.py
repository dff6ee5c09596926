"""How often the alarm is false and how soon it is right, beside other rules on the same traffic.

`python -m benchmarks.drift_alarms --seed N [--months M] [--rows R ...]` simulates M months (200) of
each world of `benchmarks.drift_worlds` and each window size, judges every window by the alarm's own
functions with the default budget, and prints one JSON object on its last line: false alarms a
month (days with at least one, since a case is latched), and for a shift of half a standard
deviation in one of the 12 columns the share found within a day and the median delay in windows.

Past windows are standardised once a day with all of that day's windows; each window that comes
near the threshold is then judged as the product does it, permutations included.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import drift_rivals as rivals
from benchmarks import drift_worlds as worlds
from benchmarks.drift_worlds import COLUMNS, HOURS, REFERENCE_DAYS
from drift.alarm import judge_window
from drift.budget import TooFewDays, threshold_of
from drift.history import History, WindowDistances, standardised
from drift.policy import DriftPolicy
from drift.verdicts import Alarm
from drift.windows import DAY_S, Basis, Window
from registry.quiet import silence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.drift_worlds import Counts, Floats, Traffic
    from drift.verdicts import Judgement

POLICY = DriftPolicy(permutations=199)
"""The defaults; fewer permutations show a chance of 5 % as well, five times as fast."""
SIZES = (50, 500, 5000)
TRACE_MONTHS = 10
SHIFT = 0.5
ONSETS_A_TRACE = 8
_NEAR = 0.97
_HOUR_S = DAY_S / HOURS
_SIGNALS = tuple(
    (f"c{number}", str(name)) for name in POLICY.distances for number in range(COLUMNS)
)


@dataclass
class Tally:
    """Days with a false alarm, by rule, and the delays of what was found."""

    days: int = 0
    false: dict[str, int] = field(default_factory=dict)
    delays: dict[str, list[int | None]] = field(default_factory=dict)

    def add(self, rule: str, windows: NDArray[np.bool_]) -> None:
        """Count days of bool [days, hours] without drift that have an alarm."""
        self.false[rule] = self.false.get(rule, 0) + int(windows.any(axis=1).sum())

    def found(self, rule: str, windows: NDArray[np.bool_]) -> None:
        """Note the first alarm in bool [hours] of a day with drift."""
        first = int(windows.argmax()) + 1 if windows.any() else None
        self.delays.setdefault(rule, []).append(first)

    def to_json(self) -> dict[str, Any]:
        """False alarms in 30 days, the share found within a day, and the median delay."""
        per_month = {rule: round(count / self.days * 30, 2) for rule, count in self.false.items()}
        seen = {
            rule: round(sum(delay is not None for delay in delays) / len(delays), 3)
            for rule, delays in self.delays.items()
        }
        median = {
            rule: float(np.median([HOURS + 1 if delay is None else delay for delay in delays]))
            for rule, delays in self.delays.items()
        }
        return {
            "months": round(self.days / 30, 1),
            "false_alarms_per_month": per_month,
            "found_within_a_day": seen,
            "median_delay_windows": median,
        }


@dataclass(frozen=True)
class Trace:
    """One stretch of traffic and what the alarm measured of it, from day REFERENCE_DAYS on."""

    traffic: Traffic
    before: Counts
    squares: Floats
    """Squared distances, float64 [days, hours, signals]."""
    noise: Floats

    @classmethod
    def of(cls, traffic: Traffic) -> Trace:
        """Measure every window against the same hours of the days before it."""
        before = worlds.references(traffic.counts)
        squares = measured(before, traffic.counts[REFERENCE_DAYS:])
        noise = 1 / traffic.rows[REFERENCE_DAYS:] + 1 / before[:, :, 0].sum(axis=-1)
        return cls(traffic, before, squares, noise)

    def kept(self, day: int, hour: int) -> WindowDistances:
        """What the product would have kept of that window."""
        values = np.sqrt(self.squares[day, hour]).tolist()
        since = day * DAY_S + hour * _HOUR_S
        return WindowDistances(
            span=Window(since, since + _HOUR_S),
            basis=Basis.SAME_HOURS,
            window_units=int(self.traffic.rows[REFERENCE_DAYS + day, hour]),
            reference_units=int(self.before[day, hour, 0].sum()),
            values=dict(zip(_SIGNALS, values, strict=True)),
        )

    def history(self, day: int, hour: int) -> History:
        """All that was kept before that window, of as many days as the policy looks at."""
        first = max(0, day - POLICY.history_days)
        squares = self.squares[first : day + 1].reshape(-1, len(_SIGNALS))
        days = np.repeat(np.arange(first, day + 1), HOURS)
        until = (day - first) * HOURS + hour
        noise = self.noise[first : day + 1].ravel()
        return History(_SIGNALS, squares[:until], noise[:until], days[:until])


def measured(before: Counts, now: Counts) -> Floats:
    """Squared distances of windows, float64 [..., signals]."""
    return np.concatenate(worlds.distances(before, now), axis=-1) ** 2


def main(arguments: list[str]) -> int:
    """Measure every world and size; a last line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--worlds", nargs="+", choices=worlds.WORLDS, default=worlds.WORLDS)
    asked = parser.parse_args(arguments)
    silence()
    result: dict[str, Any] = {"seed": asked.seed, "stated": POLICY.false_alarms_per_month}
    for world in asked.worlds:
        for rows in asked.rows:
            started = time.perf_counter()
            rng = np.random.default_rng([asked.seed, rows, worlds.WORLDS.index(world)])
            found = measure(rng, world, rows, asked.months).to_json()
            result[f"{world}, {rows} rows"] = found
            print(f"{world}, {rows} rows ({time.perf_counter() - started:.0f} s): {found}")
            sys.stdout.flush()
    print(json.dumps(result))
    return 0


def measure(rng: np.random.Generator, world: str, rows: int, months: int) -> Tally:
    """Simulate `months` months after the days that fill the history, in several traces."""
    tally = Tally()
    left = months * 30
    while left > 0:
        days = min(left, TRACE_MONTHS * 30)
        lead = REFERENCE_DAYS + POLICY.history_days
        trace = Trace.of(worlds.simulate(rng, world, lead + days, rows))
        _judge_trace(rng, trace, days, tally)
        left -= days
    return tally


def _judge_trace(rng: np.random.Generator, trace: Trace, days: int, tally: Tally) -> None:
    now, first = trace.traffic.counts[REFERENCE_DAYS:], POLICY.history_days
    before, judged = trace.before[first:], now[first:]
    nanny = rivals.NannyMl(now[:first])
    wasserstein = np.sqrt(trace.squares[first:, :, :COLUMNS])
    columns = rivals.evidently_columns(before, judged, wasserstein)
    _check_evidently(rng, before, judged, columns)
    tally.days += days
    tally.add("sluice", alarms(rng, trace, days))
    tally.add("evidently any column", np.asarray(columns.any(axis=-1)))
    tally.add("evidently data set", rivals.dataset_drifted(columns))
    tally.add("nannyml", nanny.alerts(judged))
    limit = POLICY.false_alarms_per_month
    tally.add("bonferroni", rivals.bonferroni(before, judged, limit))
    for day in rng.choice(days, ONSETS_A_TRACE, replace=False).tolist():
        drifted, counts = with_drift(rng, trace, first + day)
        reference = trace.before[first + day]
        flags = rivals.evidently_columns(
            reference, counts, np.sqrt(drifted.squares[-1, :, :COLUMNS])
        )
        tally.found("sluice", alarms_of_day(rng, drifted, first))
        tally.found("evidently any column", np.asarray(flags.any(axis=-1)))
        tally.found("evidently data set", rivals.dataset_drifted(flags))
        tally.found("nannyml", nanny.alerts(counts))
        tally.found("bonferroni", rivals.bonferroni(reference, counts, limit))


def _check_evidently(
    rng: np.random.Generator, before: Counts, now: Counts, columns: NDArray[np.bool_]
) -> None:
    """On some columns Evidently's own function must say what was computed for all of them."""
    for _ in range(5):
        place = tuple(int(rng.integers(size)) for size in columns.shape)
        itself, number = rivals.evidently_itself(before[place], now[place])
        near = abs(number - rivals.KS_LEVEL) < 0.02 or abs(number - rivals.WASSERSTEIN_LIMIT) < 1e-6
        if itself != columns[place] and not near:  # its p-values are exact, ours asymptotic
            raise AssertionError(f"Evidently says {itself} ({number}) at {place}")


def with_drift(
    rng: np.random.Generator, trace: Trace, day: int, shift: float = SHIFT
) -> tuple[Trace, Counts]:
    """The days that `day` is judged by, with one of its columns moved, and its counts."""
    last, first = REFERENCE_DAYS + day, day - POLICY.history_days
    shifts = trace.traffic.shifts[last].copy()
    shifts[:, int(rng.integers(COLUMNS))] += shift
    drifted = worlds.draw(rng, trace.traffic.rows[last], shifts)
    counts = np.concatenate([trace.traffic.counts[first:last], drifted[None]])
    squares = trace.squares[first : day + 1].copy()
    squares[-1] = measured(trace.before[day], drifted)
    kept = slice(first, day + 1)
    traffic = worlds.Traffic(counts, trace.traffic.shifts[first : last + 1])
    return Trace(traffic, trace.before[kept], squares, trace.noise[kept]), drifted


def alarms(rng: np.random.Generator, trace: Trace, days: int) -> NDArray[np.bool_]:
    """Windows of the `days` days after the history that alarm, up to the first of each day."""
    first = POLICY.history_days
    return np.stack([alarms_of_day(rng, trace, first + day) for day in range(days)])


def alarms_of_day(rng: np.random.Generator, trace: Trace, day: int) -> NDArray[np.bool_]:
    """Windows of the day that alarm, up to the first one: bool [hours]."""
    first = day - POLICY.history_days
    squares = trace.squares[first : day + 1].reshape(-1, len(_SIGNALS))
    largest = standardised(squares, trace.noise[first : day + 1].ravel()).max(axis=-1)
    by_day = largest.reshape(-1, HOURS)
    threshold = threshold_of(by_day[:-1].max(axis=1), POLICY.alarm_days)
    alarms = np.zeros(HOURS, dtype=bool)
    if isinstance(threshold, TooFewDays):
        return alarms
    for hour in np.flatnonzero(by_day[-1] > _NEAR * threshold.value).tolist():
        if isinstance(judgement(rng, trace, day, hour).outcome, Alarm):
            alarms[hour] = True
            break
    return alarms


def judgement(rng: np.random.Generator, trace: Trace, day: int, hour: int) -> Judgement:
    """What the product says of that window."""
    last = REFERENCE_DAYS + day
    return judge_window(
        trace.traffic.table(rng, slice(last - REFERENCE_DAYS, last), hour),
        trace.traffic.table(rng, slice(last, last + 1), hour),
        POLICY,
        trace.kept(day, hour),
        trace.history(day, hour),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
