"""The release's engine, which Triton's vLLM backend runs as a Triton model of its own.

One call is one answer, by Triton's business-logic scripting, and an instance makes one call at a
time: concurrent ones to a decoupled model fail in 2.51 and still do in 2.70
(triton-inference-server/server#8922). vLLM joins what all instances ask. Pinned to the release's
version. Names of tensors: triton-inference-server/vllm_backend, src/model.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT, TOKENS, LOG_PROBABILITY = "text_output", "num_output_tokens", "cumulative_logprob"
_WANTED = ("exclude_input_in_output", "return_num_output_tokens", "return_cumulative_logprob")


@dataclass(frozen=True)
class Written:
    """One answer as the engine wrote it; `log_probability` is the sum over its `tokens`."""

    text: str
    tokens: int
    log_probability: float


class Engine:
    """The Triton model `model`, version `release`."""

    def __init__(self, model: str, release: int) -> None:
        self._model, self._release = model, release

    def write(self, prompt: str, sampling: Mapping[str, Any]) -> Written:
        """The whole answer to a prompt. Raises RuntimeError with the engine's reason."""
        import triton_python_backend_utils as pb_utils

        said = [prompt.encode(), json.dumps(sampling).encode()]
        texts = zip(("text_input", "sampling_parameters"), said, strict=True)
        flags = {"stream": False, **dict.fromkeys(_WANTED, True)}
        responses = pb_utils.InferenceRequest(
            model_name=self._model,
            model_version=self._release,
            requested_output_names=[TEXT, TOKENS, LOG_PROBABILITY],
            inputs=[
                *(pb_utils.Tensor(name, np.array([text], dtype=object)) for name, text in texts),
                *(pb_utils.Tensor(name, np.array([flag])) for name, flag in flags.items()),
            ],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        ).exec(decoupled=True)
        # To the end in any case: a response that nobody took stays in the server.
        found = [_read(response) for response in responses]
        if reason := next((one for one in found if isinstance(one, str)), ""):
            raise RuntimeError(reason)
        written = [one for one in found if isinstance(one, Written)]
        if len(written) != 1:
            raise RuntimeError(f"the engine gave {len(written)} answers")
        return written[0]


def _read(response: Any) -> Written | str | None:
    """An answer, the reason that there is none, or None for a response that only ends."""
    if response.has_error():
        return str(response.error().message()) or "the engine gave no reason"
    found = {
        tensor.name(): tensor.as_numpy().reshape(-1)[0] for tensor in response.output_tensors()
    }
    if not found:
        return None
    if missing := sorted({TEXT, TOKENS, LOG_PROBABILITY} - set(found)):
        return f"the engine's answer has no output {missing[0]!r}"
    return Written(found[TEXT].decode(), int(found[TOKENS]), float(found[LOG_PROBABILITY]))
