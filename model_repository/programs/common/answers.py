"""What a program's entry and a kind's answerer tell each other. Knows no server and no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Network = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
    """A batch of inputs by tensor name to a batch of outputs by tensor name."""


@dataclass(frozen=True)
class Settings:
    """How an instance runs: the release's configuration as its answerer needs it."""

    threads: int = 2
    """Threads of the inference engine."""
    device: str = "CPU"
    """OpenVINO's name of a device, or an order of them such as `AUTO:NPU,GPU,CPU`."""
    network: Network | None = None
    """The release's network, where another Triton model runs it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The kind's own parameters of the policy."""


@dataclass(frozen=True)
class Outcome:
    """The answer to one question.

    `outputs` holds a value for each output of the kind's interface, by tensor name: a text, a
    number, or float32 [n]. `record` holds what the prediction log keeps of it.
    """

    outputs: Mapping[str, Any]
    record: Mapping[str, Any]


class Answerer(Protocol):
    """One loaded variant. One caller at a time."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load the variant in `folder`; a failure keeps the release from being ready."""

    def refusal(self, question: NDArray[Any], parameters: Mapping[str, Any]) -> str:
        """Why this question must be refused, and what to do; empty when it is sound."""
        ...

    def answer(
        self, questions: Sequence[NDArray[Any]], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """An outcome for each question, all of which `refusal` let pass."""
        ...

    def describe(self, question: NDArray[Any]) -> Mapping[str, Any]:
        """What the prediction log keeps of a question, sound or refused."""
        ...
