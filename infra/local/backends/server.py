"""What both backends share: Triton's calls on one side, one network on the other.

Every instance tells which device answers it: as a line in the server's log, and as the metric
`sluice_execution_device` on the server's own metrics port, for as long as the process lives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import triton_python_backend_utils as pb_utils

from infra.local.backends.batches import Refusal, answer
from infra.local.backends.config import DEVICE_METRIC, NetworkConfig, UnservableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.local.backends.network import Network


class NetworkServer(ABC):
    """One instance of one model, as Triton's stub drives it."""

    default_file: str

    @abstractmethod
    def open(self, config: NetworkConfig) -> Network:
        """Load the configured file and check its tensors.

        Raises UnservableError or the runtime's own error.
        """

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Load the network; a failure here is the reason in the server's index."""
        try:
            self._config = NetworkConfig.from_arguments(arguments, self.default_file)
            self._network = self._open_file()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise pb_utils.TritonModelException(f"{self.default_file}: {reason}") from error
        self._devices = _Devices(self._config)
        self._devices.note(self._network.device())

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, in order."""
        names = [tensor.name for tensor in self._config.outputs]
        outcomes = answer(
            [self._arrays(request) for request in requests],
            self._config,
            lambda inputs: self._network.run(inputs, names),
        )
        self._devices.note(self._network.device())
        return [
            _response(outcome, names, request.requested_output_names())
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _open_file(self) -> Network:
        if not self._config.file.exists():
            raise UnservableError(f"there is no file {self._config.file_name}")
        return self.open(self._config)

    def _arrays(self, request: Any) -> dict[str, Any]:
        tensors = (
            (tensor.name, pb_utils.get_input_tensor_by_name(request, tensor.name))
            for tensor in self._config.inputs
        )
        return {name: tensor.as_numpy() for name, tensor in tensors if tensor is not None}


class _Devices:
    """Keeps log and metric at what the runtime says; AUTO may move to another device later."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._known: dict[str, Any] = {}
        self._now = ""
        self._family = pb_utils.MetricFamily(
            name=DEVICE_METRIC,
            description="1 for the device that answers the model now",
            kind=pb_utils.MetricFamily.GAUGE,
        )

    def note(self, device: str) -> None:
        """Say it when `device` is not the one that answered before."""
        if device == self._now:
            return
        if self._now:
            self._known[self._now].set(0)
        if device not in self._known:
            labels = {"model": self._config.name, "version": self._config.version, "device": device}
            self._known[device] = self._family.Metric(labels=labels)
        self._known[device].set(1)
        self._now = device
        pb_utils.Logger.log_info(
            f"sluice: {self._config.name} version {self._config.version} is answered by {device}"
        )


def _response(outcome: Any, names: Sequence[str], requested: Sequence[str]) -> Any:
    if isinstance(outcome, Refusal):
        code = (
            pb_utils.TritonError.INVALID_ARG if outcome.invalid else pb_utils.TritonError.INTERNAL
        )
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(outcome.reason, code))
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor(name, output)
            for name, output in zip(names, outcome, strict=True)
            if name in requested
        ]
    )
