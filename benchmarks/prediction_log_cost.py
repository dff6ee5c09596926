"""What the prediction log costs a served model: answers a second with it and without it.

Three private revisions of one variant stand side by side, one without a log, one with it, one that
keeps redacted texts too. Load goes to one of them at a time, in rounds that begin with another one
each time, so that whatever else the machine does meets all of them alike; the cost is the mean of
the rounds' differences, with its 95 % interval. Seconds of processor time an answer are told
beside it: they do not depend on who else is at work.
`python -m benchmarks.prediction_log_cost [KIND]` prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.serving import EXAMPLES, GRID, _convert
from drift.records import read_records
from infra.inference import score
from infra.local.private_revision import PrivateRevision
from model_repository.config import Batching
from model_repository.programs.common.records import LOG_TEXT, REDACTED
from model_repository.publishing import build_private
from pipelines.conversion.kinds import kind_of
from registry.quiet import silence
from validation.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Questions = list[tuple[str, NDArray[Any]]]

ARMS = ("off", "on", "texts")
IN_FLIGHT = 32
QUESTIONS = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", default="ctc-speech", choices=EXAMPLES)
    parser.add_argument("--rounds", type=int, default=12, help="in which each is asked once")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load on each in a round")
    arguments = parser.parse_args()
    silence()
    print(json.dumps(measure(arguments.kind, arguments.rounds, arguments.seconds)))


def measure(kind: str, rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of one kind's example."""
    model, evaluation, variant = EXAMPLES[kind]
    dataset = Dataset.load(GRID / "data" / evaluation)
    questions = [(one.id, dataset.question(one)) for one in dataset.utterances[:QUESTIONS]]
    with tempfile.TemporaryDirectory(prefix="sluice-log-cost-") as folder, ExitStack() as stack:
        work = Path(folder)
        _convert(kind, GRID / "models" / model, variant, work)
        arms = {arm: stack.enter_context(_revision(arm, kind, model, work)) for arm in ARMS}
        rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
        work_s: dict[str, list[float]] = {arm: [] for arm in ARMS}
        asked = dict.fromkeys(ARMS, 0)
        for number in range(-1, rounds):
            for arm in _turned(number):
                answers, took, spent = _load(arms[arm], model, kind, questions, seconds)
                asked[arm] += answers
                if number >= 0:
                    rates[arm].append(answers / took)
                    work_s[arm].append(spent / answers)
        time.sleep(2)
        recorded = {arm: _recorded(work / f"{arm}-log", model) for arm in ARMS}
    if recorded != asked | {"off": 0}:
        raise SystemExit(f"asked {asked}, recorded {recorded}")
    result: dict[str, Any] = {"kind": kind, "variant": variant, "rounds": rounds}
    result |= {"seconds": seconds, "in_flight": IN_FLIGHT, "recorded": recorded["on"]}
    result |= {f"{arm}_rps": round(statistics.median(rates[arm]), 1) for arm in ARMS}
    result["processor_ms"] = {arm: round(statistics.median(work_s[arm]) * 1e3, 3) for arm in ARMS}
    for arm, name in (("on", "cost"), ("texts", "cost_with_texts")):
        result[name] = _cost(rates["off"], rates[arm])
        result[f"{name}_of_processor"] = _cost(work_s[arm], work_s["off"])
    return result


def _revision(arm: str, kind: str, model: str, work: Path) -> PrivateRevision:
    batching = Batching(threads=1, options=kind_of(kind).defaults)
    if arm == "texts":
        batching = replace(batching, options={**batching.options, LOG_TEXT: REDACTED})
    repository = build_private(work / arm, work / "variant", model, kind=kind, batching=batching)
    predictions = None if arm == "off" else work / f"{arm}-log"
    return PrivateRevision(repository, model, log=work / f"{arm}.txt", predictions=predictions)


def _turned(number: int) -> tuple[str, ...]:
    first = number % len(ARMS)
    return ARMS[first:] + ARMS[:first]


def _load(
    revision: PrivateRevision, model: str, kind: str, questions: Questions, seconds: float
) -> tuple[int, float, float]:
    """How many answers came, in how many seconds, for how many seconds of a processor."""
    before, started = _processor_s(revision), time.perf_counter()

    def asked() -> Iterator[tuple[str, NDArray[Any]]]:
        number = 0
        while time.perf_counter() < started + seconds:
            name, question = questions[number % len(questions)]
            yield f"{name}-{number}", question
            number += 1

    answers = score(
        revision.grpc_address,
        model,
        kind_of(kind).interface,
        asked(),
        in_flight=IN_FLIGHT,
        recorded=True,
    )
    took = time.perf_counter() - started
    if any(answer.failed for answer in answers):
        raise SystemExit("a request failed")
    return len(answers), took, _processor_s(revision) - before


def _processor_s(revision: PrivateRevision) -> float:
    """What the server and its children have used so far."""
    if revision._process is None:  # noqa: SLF001 - only a benchmark wants to know
        return 0.0
    children = psutil.Process(revision._process.pid).children(recursive=True)  # noqa: SLF001
    times = [child.cpu_times() for child in children]
    return sum(one.user + one.system for one in times)


def _recorded(log: Path, model: str) -> int:
    rows: int = read_records(log, model, since=0, until=time.time() + 60).table.num_rows
    return rows


def _cost(better: list[float], worse: list[float]) -> dict[str, float]:
    """The share that is lost from `better` to `worse`, by round, and its 95 % interval."""
    from scipy import stats  # type: ignore[import-untyped] # scipy has no types

    lost = [1 - after / before for before, after in zip(better, worse, strict=True)]
    mean, error = statistics.mean(lost), statistics.stdev(lost) / len(lost) ** 0.5
    reach = float(stats.t.ppf(0.975, len(lost) - 1)) * error
    named = {"mean": mean, "low": mean - reach, "high": mean + reach}
    return {name: round(value, 4) for name, value in named.items()}


if __name__ == "__main__":
    main()
