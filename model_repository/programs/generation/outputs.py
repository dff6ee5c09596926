"""An answer as the values of the outputs that both models of a release have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..common.quality import compression_ratio

if TYPE_CHECKING:
    from .courier import Answer


def outputs(name: str, answer: Answer) -> dict[str, Any]:
    """Values by tensor name; `name` is that of the text."""
    return {
        name: answer.text,
        "average_log_probability": answer.average_log_probability,
        "token_count": answer.token_count,
        "compression_ratio": compression_ratio(answer.text),
    }
