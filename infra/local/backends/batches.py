"""Requests of one execute() as few runs of the network, and the answers split again.

Knows no Triton and no runtime: requests are arrays by name, a run is a function. One request's
failure is that request's answer; the others of its batch are run again without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from infra.local.backends.config import NetworkConfig, TensorSpec

    Arrays = dict[str, NDArray[Any]]
    Run = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no answer; `invalid` when the request itself is at fault."""

    reason: str
    invalid: bool


def answer(
    requests: Sequence[Arrays], config: NetworkConfig, run: Run
) -> list[Sequence[NDArray[Any]] | Refusal]:
    """The outputs of each request in the order of `run`'s, or why there are none.

    With a batch, requests of the same shapes are concatenated along the first axis, up to
    `max_batch_size` rows a run; without one each is run alone, as it is.
    """
    outcomes: list[Sequence[NDArray[Any]] | Refusal] = [
        Refusal(reason, invalid=True) if (reason := refusal(arrays, config)) else ()
        for arrays in requests
    ]
    sound = [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Refusal)]
    for group in _groups(requests, sound, config):
        for index, outcome in zip(
            group, _run_group([requests[index] for index in group], run), strict=True
        ):
            outcomes[index] = outcome
    return outcomes


def refusal(arrays: Arrays, config: NetworkConfig) -> str:
    """Why a request's tensors cannot be answered; empty when they can."""
    rows = set()
    for tensor in config.inputs:
        array = arrays.get(tensor.name)
        if array is None:
            return f"input {tensor.name!r} is missing"
        if array.dtype != tensor.numpy_type:
            return f"input {tensor.name!r} is {array.dtype}, not {tensor.numpy_type}"
        if not _fits(array, tensor, batched=config.max_batch_size > 0):
            found, wanted = list(array.shape), _shape(tensor, config)
            return f"input {tensor.name!r} has shape {found}, not {wanted}"
        rows.add(array.shape[0] if config.max_batch_size else 1)
    if len(rows) > 1:
        return f"inputs have different batches: {sorted(rows)}"
    if config.max_batch_size and not all(1 <= count <= config.max_batch_size for count in rows):
        return f"the batch holds {max(rows)} rows, not 1 to {config.max_batch_size}"
    return ""


def _fits(array: NDArray[Any], tensor: TensorSpec, *, batched: bool) -> bool:
    shape = array.shape[1:] if batched else array.shape
    return array.ndim == len(tensor.dims) + batched and all(
        wanted in {-1, own} for own, wanted in zip(shape, tensor.dims, strict=True)
    )


def _shape(tensor: TensorSpec, config: NetworkConfig) -> str:
    dims = ["batch"] * (config.max_batch_size > 0) + [str(dim) for dim in tensor.dims]
    return f"[{', '.join(dims)}]"


def _groups(
    requests: Sequence[Arrays], sound: Sequence[int], config: NetworkConfig
) -> list[list[int]]:
    """Indices of the requests that share a run."""
    if not config.max_batch_size:
        return [[index] for index in sound]
    groups: list[list[int]] = []
    open_ones: dict[Any, tuple[list[int], int]] = {}
    for index in sound:
        arrays = requests[index]
        key = tuple(arrays[tensor.name].shape[1:] for tensor in config.inputs)
        rows = _rows(arrays)
        group, filled = open_ones.get(key, ([], config.max_batch_size))
        if filled + rows > config.max_batch_size:
            group, filled = [], 0
            groups.append(group)
        group.append(index)
        open_ones[key] = group, filled + rows
    return groups


def _run_group(requests: Sequence[Arrays], run: Run) -> list[Sequence[NDArray[Any]] | Refusal]:
    if len(requests) == 1:
        try:
            return [run(requests[0])]
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the answer
            return [Refusal(f"the network failed: {' '.join(str(error).split())}", invalid=False)]
    joined = {name: np.concatenate([arrays[name] for arrays in requests]) for name in requests[0]}
    rows = [_rows(arrays) for arrays in requests]
    try:
        outputs = run(joined)
    except Exception:  # noqa: BLE001 - one of them is at fault; alone, each shows whether it is
        return [_run_group([arrays], run)[0] for arrays in requests]
    if wrong := [output.shape for output in outputs if output.shape[:1] != (sum(rows),)]:
        reason = f"the network answers {list(wrong[0])} to a batch of {sum(rows)} rows"
        return [Refusal(reason, invalid=False)] * len(requests)
    edges = np.cumsum(rows)[:-1]
    parts = [np.split(output, edges) for output in outputs]
    return [[part[index] for part in parts] for index in range(len(requests))]


def _rows(arrays: Arrays) -> int:
    return int(next(iter(arrays.values())).shape[0])
