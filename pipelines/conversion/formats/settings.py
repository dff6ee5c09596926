"""A recipe's parameters, read once into typed values: an unknown name or a bad value is an error.

Lists are written with commas in one string ("MatMul,Conv"), because a recipe holds plain values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from registry.errors import UserError

if TYPE_CHECKING:
    from pipelines.conversion.kind import Recipe

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Half:
    """FP16. `keep` names nodes, `keep_operators` types of nodes, that stay FP32."""

    keep: tuple[str, ...] = ()
    keep_operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dynamic:
    """INT8 weights, activations quantised while serving, by ONNX Runtime."""

    operators: tuple[str, ...] = ("MatMul",)
    per_channel: bool = True
    constant_only: bool = True
    """Leave products of two activations (attention) alone: they hold no weights."""
    reduce_range: bool = True
    """Weights of seven bits: of eight, two products overflow the 16 bits in which CPUs without
    VNNI add them, so one file gives other answers there (docs/adr/0009)."""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Static:
    """INT8 weights and activations with ranges from calibration, as QDQ pairs."""

    operators: tuple[str, ...] = ("MatMul", "Gemm", "Conv")
    dynamic_operators: tuple[str, ...] = ()
    """Types that are quantised dynamically in the same graph, such as LSTM."""
    per_channel: bool = True
    constant_only: bool = True
    calibration: str = "minmax"
    """`minmax`, `entropy` or `percentile`."""
    percentile: float = 99.999
    symmetric: bool = False
    """Signed activations around 0 (ARM, GPU); otherwise unsigned ones (x86)."""
    reduce_range: bool = True
    """As for `Dynamic`."""
    subset_size: int = 128
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnnxWeights:
    """INT8 weights beside a DequantizeLinear; everything is computed in FP32."""

    operators: tuple[str, ...] = (
        "MatMul",
        "Gemm",
        "Conv",
        "ConvTranspose",
        "LSTM",
        "GRU",
        "Gather",
    )
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenvinoWeights:
    """INT8 or INT4 weights by NNCF; activations stay floating point."""

    mode: str = "int8_sym"
    group_size: int = 0
    """Weights that share a scale; 0 is NNCF's own (128 for INT4)."""
    ratio: float = 1.0
    """Share of the INT4 layers that become INT4; the rest INT8."""
    all_layers: bool = False
    """INT4 for the embeddings and the last layer too."""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Full:
    """INT8 weights and activations by NNCF's post-training quantisation."""

    model_type: str = "none"
    """`transformer` or `none`."""
    preset: str = "mixed"
    """`mixed` (asymmetric activations) or `performance` (symmetric ones)."""
    subset_size: int = 128
    fast_bias_correction: bool = True
    overflow_fix: str = "enable"
    """`enable` is NNCF's way to keep weights to seven bits; `disable`; `first_layer_only`."""
    keep: tuple[str, ...] = ()
    keep_operators: tuple[str, ...] = ()


_RENAMED = {"MatMulConstBOnly": "constant_only"}
_GRAPH_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_OF_OTHERS = ("method", "graphs", "others")
"""Parameters that decide which writer makes which graph."""


def method_of(recipe: Recipe) -> str:
    """The recipe's method: "" for floating point."""
    return str(recipe.parameters.get("method", ""))


def for_graph(recipe: Recipe, name: str) -> Recipe:
    """The recipe as the graph `name` reads it.

    A node in `keep` may be written GRAPH:NODE; those of other graphs are left out.
    """
    if "keep" not in recipe.parameters:
        return recipe
    kept = []
    for entry in str(recipe.parameters["keep"]).split(","):
        graph, colon, node = entry.partition(":")
        if not colon or not _GRAPH_NAME.fullmatch(graph):
            kept.append(entry)
        elif graph == name:
            kept.append(node)
    return replace(recipe, parameters={**recipe.parameters, "keep": ",".join(kept)})


def read(recipe: Recipe, kind: type[_Settings]) -> _Settings:
    """The recipe's parameters as a `kind` of settings.

    Raises UserError for a name that `kind` does not have, or a value of another type.
    """
    known: dict[str, Any] = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]  # only dataclasses come here
    values: dict[str, Any] = {}
    for written, value in recipe.parameters.items():
        name = _RENAMED.get(written, written)
        if name in _OF_OTHERS:
            continue
        if name not in known:
            raise UserError(
                f"{recipe.variant} has no parameter {written!r}",
                remedy=f"there are {', '.join(known)}",
            )
        values[name] = _value(recipe, written, value, known[name])
    return kind(**values)


def _value(recipe: Recipe, name: str, value: object, default: object) -> object:
    if isinstance(default, tuple):
        return tuple(filter(None, (part.strip() for part in str(value).split(","))))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise UserError(
            f"{recipe.variant}: {name} is {value!r}, not a {type(default).__name__}",
            remedy="mend the recipe",
        )
    return value
