"""One loaded network, whatever its runtime, and the check that it is the one configured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from infra.local.backends.config import UnservableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from infra.local.backends.config import NetworkConfig, TensorSpec

    Arrays = Mapping[str, NDArray[Any]]


class Network(ABC):
    """A network in memory. One caller at a time."""

    @abstractmethod
    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """The named outputs for `inputs`, in that order. The runtime's own errors pass through."""

    @abstractmethod
    def device(self) -> str:
        """The device that answers now, such as "CPU" or "GPU.0": asked of the runtime."""


def check_tensors(
    kind: str,
    configured: Sequence[TensorSpec],
    found: Mapping[str, tuple[str, tuple[int, ...]]],
    config: NetworkConfig,
) -> None:
    """Compare configured tensors with the network's own. Raises UnservableError.

    `kind` is "input" or "output"; `found` has NumPy's type and the whole shape of each tensor, -1
    where it is free. Inputs must be configured completely, outputs may be a part.
    """
    names = {tensor.name for tensor in configured}
    if kind == "input" and (missing := sorted(found.keys() - names)):
        raise UnservableError(f"input {missing[0]!r} of {config.file_name} is not configured")
    for tensor in configured:
        if tensor.name not in found:
            raise UnservableError(
                f"{config.file_name} has no {kind} {tensor.name!r}, only {', '.join(found)}"
            )
        numpy_type, shape = found[tensor.name]
        if numpy_type != tensor.numpy_type:
            raise UnservableError(
                f"{kind} {tensor.name!r} is {numpy_type} in {config.file_name} and "
                f"{tensor.data_type} in the configuration"
            )
        _check_shape(kind, tensor, shape, config)


def _check_shape(
    kind: str, tensor: TensorSpec, shape: tuple[int, ...], config: NetworkConfig
) -> None:
    batch = (-1,) if config.max_batch_size else ()
    wanted = batch + tensor.dims
    fits = len(shape) == len(wanted) and all(
        asked in {own, -1} or own == -1 for own, asked in zip(shape, wanted, strict=True)
    )
    if fits and batch and shape[0] != -1:
        raise UnservableError(
            f"{kind} {tensor.name!r} of {config.file_name} has a fixed batch of {shape[0]}; "
            "export it with a free one, or configure max_batch_size 0"
        )
    if not fits:
        raise UnservableError(
            f"{kind} {tensor.name!r} has shape {list(shape)} in {config.file_name} and "
            f"{list(wanted)} in the configuration (-1 is free)"
        )
