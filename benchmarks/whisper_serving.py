"""Whisper's serving program against a bare loop on the same engine, batch after batch, in turn.

The bare loop is what one would write around the graphs and nothing more: the same log-mel
features, encoder, prompt, greedy steps with cached keys until every row has ended, tokenizer.
The program adds refusals, chunks, options, log-probabilities and the other quality signals.
Both run in one process of the serving environment, with the same threads and engine settings.

`python -m benchmarks.whisper_serving [FOLDER OF VARIANTS]` converts the example checkpoint when no
folder is given. It prints one JSON object on its last line: `rows` with `variant`, `batch`,
`program_rps`, `bare_rps` (utterances a second at the median time of a batch) and `ratio`, the
median of bare by program time over pairs that ran one after the other, in turning order;
`worst_ratio`; and `load`, that of the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_repository.programs.common.answers import Settings
from model_repository.programs.common.features import LogMel
from model_repository.programs.whisper.transcriber import Transcriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Waveforms = Sequence[NDArray[np.float32]]

CHECKOUT = Path(__file__).resolve().parents[1]
GRID = CHECKOUT / "examples" / "grid"
VARIANTS = ("onnx-fp32", "onnx-int8", "openvino-fp16", "openvino-int8")
ROUNDS = {1: 60, 16: 40}
"""Rounds by batch: what takes milliseconds needs more of them to see through the noise."""
CLIPS = 96
THREADS = 2
TIMEOUT_S = 900


def main(arguments: list[str]) -> int:
    """Measure in the serving environment, where this process is not in it yet."""
    if arguments[:1] == ["--child"]:
        _child(Path(arguments[1]))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments[0]) if arguments else _converted(Path(scratch))
        from infra.environments.locks import SERVING

        command = [str(SERVING.python), "-m", "benchmarks.whisper_serving", "--child", str(folder)]
        subprocess.run(command, cwd=CHECKOUT, check=True, timeout=TIMEOUT_S)
    return 0


def _converted(scratch: Path) -> Path:
    from infra.environments.locks import CONVERTER
    from pipelines.conversion.child import convert
    from pipelines.conversion.kinds import kind_of

    recipes = [one for one in kind_of("whisper").recipes if one.variant in VARIANTS]
    convert(
        "whisper",
        GRID / "models" / "whisper-grid",
        recipes,
        scratch / "variants",
        parent_digest="0" * 64,
        python=CONVERTER.python,
        environment_hash=CONVERTER.lock_hash,
    )
    return scratch / "variants"


def _child(folder: Path) -> None:
    clips = _clips()
    pairs = [(folder / variant, batch) for variant in VARIANTS for batch in ROUNDS]
    rows = list(starmap(lambda variant, batch: _compare(variant, batch, clips), pairs))
    result = {
        "rows": rows,
        "worst_ratio": min(row["ratio"] for row in rows),
        "threads": THREADS,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))


def _clips() -> Waveforms:
    clips = []
    for path in sorted((GRID / "data" / "evaluation" / "audio").glob("*.wav"))[:CLIPS]:
        with wave.open(str(path), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        clips.append(samples.astype(np.float32) / np.float32(32_768))
    return clips


def _compare(folder: Path, batch: int, clips: Waveforms) -> dict[str, Any]:
    """Both sides on the same batches, in turn."""
    transcriber = Transcriber(folder, Settings(threads=THREADS))
    loop = bare_loop(folder)
    count = CLIPS if batch > 1 else CLIPS // 8
    batches = [clips[begin : begin + batch] for begin in range(0, count, batch)]

    def program(waveforms: Waveforms) -> list[str]:
        # The entry asks for refusals first; they are part of what a request costs.
        if any(transcriber.refusal(one, {}) for one in waveforms):
            raise SystemExit("the program refuses a clip")
        outcomes = transcriber.answer(waveforms, [{}] * len(waveforms))
        return [outcome.outputs["transcript"] for outcome in outcomes]

    times = np.array([pair for one in batches for pair in _pairs(one, program, loop)])
    program_s, bare_s = np.median(times, axis=0)
    return {
        "variant": folder.name,
        "batch": batch,
        "program_rps": round(batch / program_s, 1),
        "bare_rps": round(batch / bare_s, 1),
        "ratio": round(float(np.median(times[:, 1] / times[:, 0])), 3),
    }


def _pairs(waveforms: Waveforms, *sides: Callable[[Waveforms], list[str]]) -> list[list[float]]:
    """Seconds of each side in each round. Exits when they do not say the same."""
    if len({tuple(side(waveforms)) for side in sides}) > 1:
        raise SystemExit("the bare loop says something else")
    pairs = []
    for number in range(ROUNDS[len(waveforms)]):
        seconds = [0.0] * len(sides)
        for side in sorted(range(len(sides)), reverse=number % 2 == 1):
            started = time.perf_counter()
            sides[side](waveforms)
            seconds[side] = time.perf_counter() - started
        pairs.append(seconds)
    return pairs


def bare_loop(folder: Path) -> Callable[[Waveforms], list[str]]:
    """Waveforms to transcripts by the graphs of a variant, with nothing around them."""
    from tokenizers import Tokenizer

    rules = json.loads((folder / "decoding.json").read_bytes())
    runtime = json.loads((folder / "variant.json").read_bytes())["recipe"]["format"]
    encode, decode = (_bare_onnx if runtime == "onnx" else _bare_openvino)(folder, rules)
    features, tokenizer = LogMel.load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    shape = (rules["attention_heads"], 0, rules["head_width"])
    end = rules["end_of_text"]

    def answer(waveforms: Waveforms) -> list[str]:
        cross = encode(features(waveforms))
        past = [np.zeros((len(waveforms), *shape), np.float32)] * len(cross)
        tokens = np.array([rules["prompt"]] * len(waveforms))
        said: list[Any] = []
        ended = np.zeros(len(waveforms), bool)
        while not ended.all() and len(said) < rules["max_new_tokens"]:
            logits, past = decode(tokens, past, cross)
            chosen = np.where(ended, end, logits[:, -1].argmax(-1))
            ended |= chosen == end
            said.append(chosen)
            tokens = chosen[:, None]
        rows = [row[row != end].tolist() for row in np.stack(said, axis=1)]
        texts = tokenizer.decode_batch(rows, skip_special_tokens=True)
        return [text.strip() for text in texts]

    return answer


def _names(prefix: str, rules: dict[str, Any]) -> list[str]:
    layers = range(rules["decoder_layers"])
    return [f"{prefix}_{part}_{layer}" for layer in layers for part in ("key", "value")]


def _bare_onnx(folder: Path, rules: dict[str, Any]) -> tuple[Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    encoder, decoder = (
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=providers)
        for name in ("encoder", "decoder")
    )
    crosses, pasts = _names("cross", rules), _names("past", rules)

    def decode(tokens: Any, past: Any, cross: Any) -> tuple[Any, Any]:
        feed = dict(zip(["tokens", *pasts, *crosses], [tokens, *past, *cross], strict=True))
        logits, *present = decoder.run(None, feed)
        return logits, present

    return lambda features: encoder.run(crosses, {"input_features": features}), decode


def _bare_openvino(folder: Path, rules: dict[str, Any]) -> tuple[Any, Any]:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    encoder, decoder = (
        core.compile_model(folder / f"{name}.xml", "CPU", settings)
        for name in ("encoder", "decoder")
    )
    crosses, pasts = _names("cross", rules), _names("past", rules)

    def encode(features: Any) -> Any:
        found = encoder({"input_features": features})
        return [found[name] for name in crosses]

    def decode(tokens: Any, past: Any, cross: Any) -> tuple[Any, Any]:
        feed = dict(zip(["tokens", *pasts, *crosses], [tokens, *past, *cross], strict=True))
        found = decoder(feed)
        return found["logits"], [found[name] for name in _names("present", rules)]

    return encode, decode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
