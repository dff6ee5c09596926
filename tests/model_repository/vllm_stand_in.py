"""Takes the place of Triton's vLLM backend in tests, where there is no GPU and no vLLM.

Inputs, outputs, settings and errors are those that the backend documents and its source has
(triton-inference-server/vllm_backend: README.md, docs/additional_outputs.md, src/model.py); what
it writes is the prompt's words backwards, one word a token, after a while.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

LOG_PROBABILITY = -0.5
"""Of each token."""
ARGUMENTS = {
    "model",
    "tokenizer",
    "dtype",
    "max_model_len",
    "max_num_seqs",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "trust_remote_code",
}
SAMPLING = {"temperature", "max_tokens", "stop", "stop_token_ids", "logprobs"}


class TritonPythonModel:
    """The one instance of one model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read `model.json`, as the backend does."""
        config = json.loads(args["model_config"])
        assert pb_utils.using_decoupled_model_transaction_policy(config)
        assert args["model_instance_kind"] == "MODEL"
        settings = json.loads((Path(pb_utils.get_model_dir()) / "model.json").read_bytes())
        unknown = set(settings) - ARGUMENTS
        assert not unknown, unknown
        # vLLM takes a path that is not there for a name on the Hugging Face Hub.
        assert (Path(settings["model"]) / "config.json").is_file(), settings["model"]
        self._lengths = settings["max_model_len"]
        self._lock, self._live, self._most = threading.Lock(), 0, 0

    def execute(self, requests: list[Any]) -> None:
        """Take requests on, and answer each one later."""
        for request in requests:
            sender = request.get_response_sender()
            asked = _Asked(request)
            threading.Thread(target=self._answer, args=(asked, sender)).start()

    def _answer(self, asked: _Asked, sender: Any) -> None:
        with self._lock:
            self._live += 1
            self._most = max(self._most, self._live)
        time.sleep(0.15)
        with self._lock:
            self._live -= 1
            most = self._most
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        text = np.array([b"N/A"], dtype=object)
        if "failing" in asked.prompt:
            error = pb_utils.TritonError("Error generating stream: out of blocks")
            tensors = [pb_utils.Tensor("text_output", text)]
            sender.send(pb_utils.InferenceResponse(tensors, error=error), flags=final)
            return
        words = asked.prompt.split()[::-1] + [f"most={most}"]
        assert len(words) <= self._lengths
        sender.send(pb_utils.InferenceResponse(asked.tensors(words)), flags=final)


class _Asked:
    def __init__(self, request: Any) -> None:
        def value(name: str) -> Any:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            return None if tensor is None else tensor.as_numpy()[0]

        self.prompt = value("text_input").decode()
        self._is_alone = bool(value("exclude_input_in_output"))
        assert not value("stream")
        self._sampling = json.loads(value("sampling_parameters"))
        assert set(self._sampling) == SAMPLING, self._sampling
        self._wanted = {
            name: bool(value(f"return_{name}"))
            for name in ("cumulative_logprob", "num_output_tokens")
        }

    def tensors(self, words: list[str]) -> list[Any]:
        kept = words[: self._sampling["max_tokens"]]
        for stop in self._sampling["stop"]:
            kept = kept[: kept.index(stop)] if stop in kept else kept
        text = ("" if self._is_alone else self.prompt) + " ".join(kept)
        found = [pb_utils.Tensor("text_output", np.array([text.encode()], dtype=object))]
        if self._wanted["cumulative_logprob"]:
            total = len(kept) * LOG_PROBABILITY if self._sampling["logprobs"] else np.nan
            found.append(pb_utils.Tensor("cumulative_logprob", np.array([total], np.float32)))
        if self._wanted["num_output_tokens"]:
            found.append(pb_utils.Tensor("num_output_tokens", np.array([len(kept)], np.uint32)))
        return found
