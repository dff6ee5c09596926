"""What a kind of model is made of: values that its own folder fills and everyone else reads.

A kind says what a request and an answer look like, what can be made of it and by which modules.
Nothing else in the house asks which kind a model is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Serving = Literal["program", "network", "stream"]
CALIBRATED = frozenset({"static", "full"})
"""Methods whose scales come from calibration data."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request or an answer, by Triton's names; `dims` leave out the batch."""

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """What clients send and get: one question, one answer, and numbers about the answer."""

    question: Tensor
    answer: Tensor
    """Text (TYPE_STRING of dims [1]) or a waveform (TYPE_FP32 of dims [-1])."""
    signals: tuple[Tensor, ...]
    """Numbers, each of dims [1]."""
    extras: tuple[Tensor, ...] = ()
    """What else an answer holds for those who ask for it; no gate looks at it."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The answer, its signals and extras."""
        return (self.answer, *self.signals, *self.extras)


@dataclass(frozen=True)
class Recipe:
    """How one variant is made. `parameters` are those of its exporter or quantiser."""

    variant: str
    format: str
    """Runtime of its files: `onnx`, `openvino` or `vllm`."""
    precision: str
    """Of its weights: `fp32`, `fp16`, `int8` or `int4`; `as-is`, the checkpoint's own."""
    parameters: Mapping[str, str | bool | int | float] = field(default_factory=dict)

    @property
    def is_calibrated(self) -> bool:
        """Whether its bytes depend on calibration data."""
        return self.parameters.get("method") in CALIBRATED

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, for `variant.json` and the key."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json`."""
        return cls(**values)


@dataclass(frozen=True)
class Kind:
    """One kind of model."""

    name: str
    dataset: str
    """Kind of the sets that it is judged by: `speech`, `noisy-speech`, `video` or `text`."""
    interface: Interface
    inspect: Callable[[Path], Mapping[str, float]]
    """Facts of a source folder, none of which opens it by a framework; raises UserError."""
    package: str
    """Package of its conversion, whose module `convert` a converter's interpreter runs."""
    recipes: tuple[Recipe, ...]
    """What can be made of it; the first is nearest to the source."""
    program: str
    """Folder of its serving program below `model_repository/programs`."""
    serving: Serving
    """Where the engine is: in the program, in a second Triton model that a native backend runs
    (`MODEL.network`), or in a second, decoupled one that streams (`MODEL.stream`)."""
    passed: tuple[Recipe, ...] = ()
    """Variants that are the source's own files, by the module's `pass_on`. They need an engine
    that is not everywhere, so no policy and no search has them unasked."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Variants that cannot work, each with its reason."""
    environment: Literal["converter", "keras"] = "converter"
    options: Mapping[str, str] = field(default_factory=dict)
    """The kind's own keys of `[serve.options]`, each with its default as text; empty where the
    program's default follows from the model."""

    @property
    def defaults(self) -> dict[str, str]:
        """Options that have a default of their own."""
        return {name: default for name, default in self.options.items() if default}

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of what can be made."""
        return tuple(recipe.variant for recipe in (*self.recipes, *self.passed))

    @property
    def reference(self) -> str:
        """The variant that the others are compared with."""
        return self.recipes[0].variant
