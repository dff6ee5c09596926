"""The types that writers and their callers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Feeds: TypeAlias = Sequence[Mapping[str, NDArray[Any]]]
    """Real inputs of one graph: each a mapping from input name to an array with a batch."""
    Session: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    """An opened graph: from inputs by name to outputs by name."""
