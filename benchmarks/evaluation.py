"""How much of the bare runtime's speed a gate keeps while it scores a set through Triton.

In one run, in turn: the gate's own path (clips read, hashed and decoded from disk, asked of a
private revision, answers read back) and the release's own program in a loop over the same clips in
batches of the same size, decoded beforehand, with no server around it; with `--instances`, as many
loops at once as the server has copies of the model. The order turns every round.

`python -m benchmarks.evaluation [--kind KIND] [--variant VARIANT] [--layers N]` prints one JSON
object on its last line: `gate_rps` and `bare_rps`, the median answers a second of each side,
`ratio`, the median over rounds of gate by bare, the rounds themselves, and the load of the machine.
What a request costs beside the model is the same for every model, so the ratio says how small the
model is: with `--layers` the example of Whisper says the same words through as many layers as a
real one has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.serving import EXAMPLES, GRID
from infra.environments.locks import CONVERTERS, SERVING
from infra.inference import score
from infra.local.private_revision import PrivateRevision
from model_repository.config import Batching
from model_repository.publishing import build_private
from pipelines.conversion.child import convert
from pipelines.conversion.kinds import KINDS, kind_of
from pipelines.conversion.recipes import recipe_of
from pipelines.scoring import questions, requests_in_flight
from registry.quiet import silence
from validation.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 7
BARE_SECONDS = 1.5
TIMEOUT_S = 300
BATCH = 16


def main() -> None:
    """Measure one kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*KINDS], default="whisper")
    parser.add_argument("--variant", help="default: the one of benchmarks.serving")
    parser.add_argument("--converted", type=Path, help="folder of the variant; default: made here")
    parser.add_argument("--layers", type=int, help="of Whisper; default: the example's own 2")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--instances", type=int, default=1, help="of the served model; they share the threads"
    )
    arguments = parser.parse_args()
    silence()
    model, evaluation, variant = EXAMPLES[arguments.kind]
    variant = arguments.variant or variant
    dataset = Dataset.load(GRID / "data" / evaluation)
    with tempfile.TemporaryDirectory(prefix="sluice-evaluation-") as folder:
        work = Path(folder)
        checkpoint = GRID / "models" / model
        if arguments.layers:
            checkpoint = _deepened(checkpoint, work / "checkpoint", arguments.layers)
        source = arguments.converted or _convert(arguments.kind, checkpoint, variant)
        result = _measure(arguments.kind, model, source, dataset, work, arguments)
    named = {"kind": arguments.kind, "variant": variant, "layers": arguments.layers}
    print(json.dumps(named | result))


def _measure(
    kind: str,
    model: str,
    source: Path,
    dataset: Dataset,
    work: Path,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    instances, threads = arguments.instances, max(1, _cores() // arguments.instances)
    batching = Batching(
        max_batch_size=BATCH,
        threads=threads,
        instances=instances,
        options=kind_of(kind).defaults,
    )
    repository = build_private(work / "repository", source, model, kind=kind, batching=batching)
    request = _bare_request(kind, model, repository, dataset, batching)
    sides: dict[str, list[float]] = {"gate": [], "bare": []}
    with PrivateRevision(repository, model, log=work / "triton.log") as revision:
        _gate_rps(revision, kind, model, dataset, batching)
        for number in range(arguments.rounds):
            for side in sorted(sides, reverse=number % 2 == 1):
                rps = (
                    _gate_rps(revision, kind, model, dataset, batching)
                    if side == "gate"
                    else _bare_rps(request, instances)
                )
                sides[side].append(round(rps, 1))
    ratios = [gate / bare for gate, bare in zip(sides["gate"], sides["bare"], strict=True)]
    return {
        "utterances": len(dataset.utterances),
        "batch": BATCH,
        "threads": batching.threads,
        "instances": batching.instances,
        "in_flight": requests_in_flight(batching),
        "gate_rps": statistics.median(sides["gate"]),
        "bare_rps": statistics.median(sides["bare"]),
        "ratio": round(statistics.median(ratios), 3),
        "rounds": sides,
        "load": round(os.getloadavg()[0], 1),
    }


def _gate_rps(
    revision: PrivateRevision, kind: str, model: str, dataset: Dataset, batching: Batching
) -> float:
    started = time.perf_counter()
    answers = score(
        revision.grpc_address,
        model,
        kind_of(kind).interface,
        questions(dataset),
        in_flight=requests_in_flight(batching),
    )
    took = time.perf_counter() - started
    if failed := [answer.error for answer in answers if answer.failed]:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
    return len(answers) / took


def _bare_rps(request: Mapping[str, Any], instances: int) -> float:
    """Answers a second of as many loops at once as the server has instances."""
    with ThreadPoolExecutor(instances) as loops:
        return sum(loops.map(_bare_loop, [request] * instances))


def _bare_loop(request: Mapping[str, Any]) -> float:
    done = subprocess.run(
        [str(SERVING.python), str(Path(__file__).with_name("serving_bare.py"))],
        input=json.dumps(request),
        env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["rps"])


def _bare_request(
    kind: str, model: str, repository: Path, dataset: Dataset, batching: Batching
) -> dict[str, Any]:
    arrays = {
        name: np.array(asked[0].decode()) if asked.dtype == np.object_ else asked
        for name, asked in questions(dataset)
    }
    path = repository.parent / "questions.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return {
        "repository": str(repository),
        "model": model,
        "serving": kind_of(kind).serving,
        "questions": str(path),
        "threads": batching.threads,
        "batch": batching.max_batch_size,
        "seconds": BARE_SECONDS,
        "options": dict(batching.options),
    }


def _deepened(source: Path, target: Path, layers: int) -> Path:
    script = Path(__file__).with_name("deeper_whisper.py")
    python = CONVERTERS[kind_of("whisper").environment].python
    subprocess.run([str(python), str(script), str(source), str(target), str(layers)], check=True)
    return target


def _convert(kind: str, source: Path, variant: str) -> Path:
    environment = CONVERTERS[kind_of(kind).environment]
    (made,) = convert(
        kind,
        source,
        [recipe_of(kind, variant)],
        Path(tempfile.mkdtemp(prefix="sluice-variant-")) / "variants",
        parent_digest="0" * 64,
        python=environment.python,
        environment_hash=environment.lock_hash,
    )
    return made.folder


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
