"""Answers a second of each kind: tuned, with Triton's defaults, and without Triton at all.

For each kind's example, one variant, one load generator, one run: `tuned_rps` is served with the
settings that `sluice tune` finds, `default_rps` with those that Triton takes when none are written
(one instance, no request waits for another or shares a step with it), `bare_rps` is the release's
own program in a loop over full batches in one process, no server around it.
`python -m benchmarks.serving [KIND ...]` prints a line for each kind, and all of them as one JSON
object on its last line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.environments.locks import CONVERTERS, SERVING
from model_repository.config import Batching
from model_repository.publishing import build_private
from model_repository.tuning import Measurement, Sweep
from pipelines.conversion.child import convert
from pipelines.conversion.kinds import KINDS, kind_of
from pipelines.conversion.recipes import recipe_of
from pipelines.tune import QUESTIONS, Load
from registry.quiet import silence
from validation.dataset import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = Path(__file__).resolve().parents[1] / "examples" / "grid"
EXAMPLES = {
    "whisper": ("whisper-grid", "evaluation", "openvino-int8"),
    "ctc-speech": ("ctc-grid", "evaluation", "onnx-int8"),
    "lip-reading": ("lips-grid", "lips-evaluation", "openvino-fp16"),
    "voice-cleaning": ("cleaner-grid", "cleaning-evaluation", "openvino-fp16"),
    "translation": ("translation-grid", "text-evaluation", "openvino-int8"),
    "llm": ("llm-grid", "text-evaluation", "openvino-int8"),
}
"""Checkpoint, evaluation set and variant by kind."""
IN_FLIGHT = 32
SECONDS = 3.0
SLOWEST_MS = 1_000.0
BARE_TIMEOUT_S = 300


def main() -> None:
    """Measure the named kinds, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of load on each setting")
    arguments = parser.parse_args()
    silence()
    rows = [measure(kind, arguments.seconds) for kind in arguments.kinds or KINDS]
    print(json.dumps({"in_flight": IN_FLIGHT, "cores": _cores(), "kinds": rows}))


def measure(kind: str, seconds: float) -> dict[str, Any]:
    """One kind's row; prints it too."""
    model, evaluation, variant = EXAMPLES[kind]
    dataset = Dataset.load(GRID / "data" / evaluation)
    questions = [(one.id, dataset.question(one)) for one in dataset.utterances[:QUESTIONS]]
    with tempfile.TemporaryDirectory(prefix="sluice-serving-") as folder:
        work = Path(folder)
        _convert(kind, GRID / "models" / model, variant, work)
        load = Load(model, kind, work, questions, IN_FLIGHT, seconds)
        start = Batching(options=kind_of(kind).defaults)
        options = dict(start.options) | ({"max_live": "1"} if "max_live" in start.options else {})
        default = load.measure(
            dataclasses.replace(start, queue_delay_us=None, threads=_cores(), options=options)
        )
        sweep = Sweep(start, slowest_ms=SLOWEST_MS, cores=_cores())
        for batching in sweep.settings():
            sweep.take(load.measure(batching))
        bare = _bare(kind, model, work, questions, sweep.best, seconds)
    row = {
        "kind": kind,
        "variant": variant,
        "tuned_rps": round(sweep.best.throughput_rps, 1),
        "default_rps": round(default.throughput_rps, 1),
        "bare_rps": round(bare, 1),
        "ratio": round(sweep.best.throughput_rps / default.throughput_rps, 2),
        "tuned": sweep.best.to_json(),
        "default": default.to_json(),
    }
    print(json.dumps(row), flush=True)
    return row


def _convert(kind: str, source: Path, variant: str, work: Path) -> None:
    environment = CONVERTERS[kind_of(kind).environment]
    (made,) = convert(
        kind,
        source,
        [recipe_of(kind, variant)],
        work / "variants",
        parent_digest="0" * 64,
        python=environment.python,
        environment_hash=environment.lock_hash,
    )
    made.folder.rename(work / "variant")


def _bare(
    kind: str,
    model: str,
    work: Path,
    questions: list[tuple[str, NDArray[Any]]],
    best: Measurement,
    seconds: float,
) -> float:
    """The release's own program, asked full batches in a process of the serving environment."""
    repository = build_private(
        work / "bare", work / "variant", model, kind=kind, batching=best.batching
    )
    arrays = {
        name: np.array(asked[0].decode()) if asked.dtype == np.object_ else asked
        for name, asked in questions
    }
    np.savez(work / "questions.npz", allow_pickle=False, **arrays)
    request = {
        "repository": str(repository),
        "model": model,
        "serving": kind_of(kind).serving,
        "questions": str(work / "questions.npz"),
        # Alone it may use what the instances share, and the largest batch that was tried.
        "threads": _cores(),
        "batch": max(best.batching.max_batch_size, 16),
        "seconds": seconds,
        "options": dict(best.batching.options),
    }
    done = subprocess.run(
        [str(SERVING.python), str(Path(__file__).with_name("serving_bare.py"))],
        input=json.dumps(request),
        env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=BARE_TIMEOUT_S,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["rps"])


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
