"""The release's network, where a native backend runs it as a Triton model of its own.

One call is one batch, by Triton's business-logic scripting. The network is pinned to the
release's version, so parts of two releases never meet. Triton refuses such calls until every model
is loaded, so no program may make one while it loads or warms up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from .answers import Network

SUFFIX = ".network"
"""Ends the name of the network's Triton model."""


def connect(variant: Path, model: str, release: int) -> Network | None:
    """The network of release `release` of `model`; None where the program runs its own engine."""
    description = variant / "network.json"
    if not description.exists():
        return None
    tensors = json.loads(description.read_bytes())
    outputs = [output["name"] for output in tensors["outputs"]]
    return _Network(model + SUFFIX, release, outputs)


class _Network:
    def __init__(self, model: str, release: int, outputs: list[str]) -> None:
        self._model, self._release, self._outputs = model, release, outputs

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Outputs by name for a batch of inputs by name. Raises RuntimeError with the reason."""
        import triton_python_backend_utils as pb_utils

        response = pb_utils.InferenceRequest(
            model_name=self._model,
            model_version=self._release,
            requested_output_names=self._outputs,
            inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        ).exec()
        if response.has_error():
            raise RuntimeError(response.error().message())
        found = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        if missing := [name for name in self._outputs if name not in found]:
            raise RuntimeError(f"the network's answer has no output {missing[0]!r}")
        return found
