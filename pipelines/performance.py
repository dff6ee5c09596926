"""How fast a variant is on this machine: timed once for one way of serving it, then read back.

A measurement is an input of the verdict like the answers are. It is kept by all that decides it
(variant, set, program, environment, settings, machine, how much was asked), so the same gate run
again says the same, to the byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import platform as machine
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from infra.environments.locks import SERVING
from pipelines.assembly import require_environment
from pipelines.scoring import ask_revision, private_revision, questions
from pipelines.stages import announce
from registry.files import canonical_json, write_atomic
from validation.order_statistics import requests_needed
from validation.performance import Performance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.local.private_revision import PrivateRevision
    from pipelines.scoring import Case
    from validation.dataset import Utterance

ROUNDS_S = 0.4
"""Seconds for which each round keeps the batches full."""
_WARM_UP = 8
_REQUESTS = 400
_GIB = 2**30


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """How much is asked: requests one at a time, for at most so many seconds; rounds in flight."""

    requests: int
    seconds: float
    rounds: int

    @classmethod
    def of(cls, case: Case) -> Extent:
        """Enough to bound what the policy's budgets ask for, at its confidence."""
        policy = case.config.gate
        wanted = requests_needed(0.99, policy.tail)
        is_asked = policy.budgets.p99_ms is not None
        return cls(
            requests=max(_REQUESTS, wanted + wanted // 4) if is_asked else _REQUESTS,
            seconds=120.0 if is_asked else 20.0 if policy.budgets.named() else 2.0,
            rounds=requests_needed(0.5, policy.tail),
        )


def performance_of(case: Case) -> tuple[Performance, bool]:
    """The variant's measurement, and whether it was made now rather than read back.

    Raises EngineError or IntegrityError when a revision is needed and does not start.
    """
    hardware, extent = hardware_of_this_machine(), Extent.of(case)
    identity = {**case.identity, "hardware": hardware, "extent": dataclasses.asdict(extent)}
    key = hashlib.sha256(canonical_json(identity)).hexdigest()
    path = case.platform.workspace.state / "performance" / f"{key}.json"
    if path.exists():
        return Performance.from_dict(json.loads(path.read_bytes())), False
    require_environment(SERVING)
    announce("Measuring latency, throughput and memory")
    hardware["load_average"] = round(os.getloadavg()[0], 2)
    measured = _measure(case, extent, hardware)
    write_atomic(path, canonical_json(measured.to_dict()))
    return measured, True


def hardware_of_this_machine() -> dict[str, Any]:
    """What figures of this machine depend on."""
    return {
        "processor": _processor(),
        "architecture": machine.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / _GIB),
        "system": machine.system(),
    }


def _measure(case: Case, extent: Extent, hardware: dict[str, Any]) -> Performance:
    with case.platform.scratch("performance") as work:
        manifest = case.platform.store.checkout(case.variant_digest, work / "variant")
        with private_revision(work, case.model, case.config) as (revision, load_s):
            latencies, audio = _alone(case, revision, extent)
            rounds = tuple(_rounds(case, revision, extent))
            peak = revision.peak_memory_bytes
    return Performance(
        latencies_ms=latencies,
        audio_s=audio,
        throughput_rps=rounds,
        load_s=load_s,
        peak_memory_bytes=peak,
        size_bytes=manifest.size,
        hardware=hardware,
        serve=dataclasses.asdict(case.config.batching),
    )


def _alone(
    case: Case, revision: PrivateRevision, extent: Extent
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds of requests asked one at a time, and the seconds of audio in each."""
    first = case.dataset.utterances[:_WARM_UP]
    ask_revision(revision, case.model, case.config, questions(case.dataset, first))
    deadline = time.monotonic() + extent.seconds
    asked = _until(deadline, itertools.islice(_spread(case), extent.requests))
    utterances: list[Utterance] = []

    def noted() -> Iterator[Utterance]:
        for utterance in asked:
            utterances.append(utterance)
            yield utterance

    answers = ask_revision(
        revision, case.model, case.config, questions(case.dataset, noted()), in_flight=1
    )
    sound = [
        (round(answer.latency_ms, 4), utterance.duration_s)
        for utterance, answer in zip(utterances, answers, strict=True)
        if not answer.failed
    ]
    return tuple(latency for latency, _ in sound), tuple(seconds for _, seconds in sound)


def _rounds(case: Case, revision: PrivateRevision, extent: Extent) -> Iterator[float]:
    """Answers a second of each round with the batches full."""
    for _ in range(extent.rounds):
        began = time.monotonic()
        asked = questions(case.dataset, _until(began + ROUNDS_S, _spread(case)))
        answers = ask_revision(revision, case.model, case.config, asked)
        sound = sum(not answer.failed for answer in answers)
        yield round(sound / (time.monotonic() - began), 3)


def _spread(case: Case) -> Iterator[Utterance]:
    """Utterances from all over the set, over and over: neighbours are often of one speaker."""
    utterances = case.dataset.utterances
    step = max(1, len(utterances) // _REQUESTS)
    for start in itertools.count():
        yield from utterances[start % step :: step]


def _until(deadline: float, utterances: Iterator[Utterance]) -> Iterator[Utterance]:
    return itertools.takewhile(lambda _: time.monotonic() < deadline, utterances)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return machine.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, machine.processor())
