"""Flow: serving settings from a measured sweep on this machine, written into the model's file."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from infra.environments.locks import SERVING
from model_repository.tuning import STAGES, Measurement, Sweep
from pipelines.assembly import Platform, require_environment
from pipelines.conversion.kinds import kind_of
from pipelines.convert import chosen_artifact
from pipelines.data import gate_dataset
from pipelines.gate import chosen_variant
from pipelines.model_config import load_model_config
from pipelines.stages import Stages, announce
from registry.access import Action
from registry.errors import EngineError, UserError
from registry.files import write_atomic
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from model_repository.config import Batching
    from pipelines.conversion.kind import Interface

    Questions = list[tuple[str, NDArray[np.float32]]]

QUESTIONS = 64
"""Utterances of the evaluation set that the load is made of, over and over."""
REQUEST_TIMEOUT_S = 60.0


@flow(name="tune", flow_run_name="tune-{model}")
def tune(  # noqa: PLR0913 - each is an option of the command
    workspace: str,
    model: str,
    variant: str,
    artifact: str = "",
    in_flight: int = 32,
    seconds: float = 3.0,
    actor: str = "",
    *,
    write: bool = True,
) -> dict[str, Any]:
    """Measure batch sizes, queue delays and instances with `in_flight` requests open.

    The highest throughput whose 95th percentile keeps `[rollout] slow_ms` goes into `[serve]` of
    the model's file, unless `write` is False. Returns every measurement and the choice. Raises
    UserError when no setting keeps the limit.
    """
    require_environment(SERVING)
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    platform.require(Action.TUNE, model)
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    record = chosen_variant(catalog, model, chosen_artifact(catalog, model, artifact), variant)
    dataset = gate_dataset(platform, config)
    questions = [(one.id, dataset.question(one)) for one in dataset.utterances[:QUESTIONS]]
    sweep = Sweep(
        replace(config.batching, response_cache_mb=0),
        slowest_ms=config.rollout.slow_ms,
        cores=len(os.sched_getaffinity(0)),
    )
    with stages.stage("tune"), platform.scratch("tune") as work:
        platform.store.checkout(record.digest, work / "variant")
        load = Load(model, config.kind, work, questions, in_flight, seconds)
        for batching in sweep.settings():
            sweep.take(load.measure(batching))
    result = {
        "model": model,
        "variant": variant,
        "in_flight": in_flight,
        "slow_ms": config.rollout.slow_ms,
        "measured": [one.to_json() for one in sweep.measured],
        "chosen": sweep.best.to_json(),
        "stages": stages.seconds,
    }
    if not sweep.holds:
        raise UserError(
            f"no setting keeps slow_ms = {config.rollout.slow_ms:g} with {in_flight} requests in "
            f"flight; the best 95th percentile is {sweep.best.p95_ms:.0f} ms",
            where=model,
            remedy="ask for fewer in flight (--in-flight), or raise [rollout] slow_ms",
        )
    if write:
        _write_serve(platform.workspace.model_file(model), sweep.best.batching)
    return result | {"written": write}


class Load:
    """Closed-loop load on private revisions of one variant, one setting after the other."""

    def __init__(
        self,
        model: str,
        kind: str,
        work: Path,
        questions: Questions,
        in_flight: int,
        seconds: float,
    ) -> None:
        self._model, self._kind, self._work = model, kind, work
        self._questions, self._in_flight, self._seconds = questions, in_flight, seconds
        self._count = 0

    def measure(self, batching: Batching) -> Measurement:
        """Throughput and latency of the variant served so; the first quarter only warms up."""
        from infra.local.private_revision import PrivateRevision
        from model_repository.publishing import build_private

        self._count += 1
        varied = ", ".join(f"{name} {getattr(batching, name)}" for name in STAGES)
        announce(f"Measuring {self._count}: {varied}")
        folder = self._work / f"setting-{self._count}"
        repository = build_private(
            folder, self._work / "variant", self._model, kind=self._kind, batching=batching
        )
        log = self._work / f"triton-{self._count}.log"
        try:
            with PrivateRevision(repository, self._model, log=log) as revision:
                interface = kind_of(self._kind).interface
                self._ask(revision.grpc_address, interface, self._seconds / 4)
                return self._summary(
                    batching, *self._ask(revision.grpc_address, interface, self._seconds)
                )
        except EngineError as error:
            nothing = float("inf")
            return Measurement(batching, 0.0, nothing, nothing, failed=1, detail=error.what)

    def _ask(
        self, address: str, interface: Interface, seconds: float
    ) -> tuple[list[float], int, float]:
        """Milliseconds of each answer, how many failed, and seconds that all took."""
        from infra.inference import score

        started = time.perf_counter()
        answers = score(
            address,
            self._model,
            interface,
            self._until(started + seconds),
            in_flight=self._in_flight,
            timeout_s=REQUEST_TIMEOUT_S,
        )
        took = time.perf_counter() - started
        failed = sum(answer.failed for answer in answers)
        return [answer.latency_ms for answer in answers], failed, took

    def _until(self, deadline: float) -> Iterator[tuple[str, NDArray[np.float32]]]:
        number = 0
        while time.perf_counter() < deadline:
            name, question = self._questions[number % len(self._questions)]
            yield f"{name}-{number}", question
            number += 1

    def _summary(
        self, batching: Batching, latencies: list[float], failed: int, took: float
    ) -> Measurement:
        import numpy as np

        p50, p95 = np.percentile(latencies, (50, 95))
        return Measurement(batching, len(latencies) / took, float(p50), float(p95), failed)


def _write_serve(path: Path, batching: Batching) -> None:
    """Set the tuned keys of `[serve]`; comments and all other keys stay as they are."""
    import tomlkit

    document = tomlkit.parse(path.read_text())
    table: Any = document.setdefault("serve", tomlkit.table())
    tuned: Mapping[str, int] = {name: getattr(batching, name) for name in (*STAGES, "threads")}
    for name, value in tuned.items():
        table[name] = value
    write_atomic(path, tomlkit.dumps(document).encode())
