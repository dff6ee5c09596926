"""One served request as a prediction record: what was asked, what was answered, what it cost.

**Who asked** is said by the front door, in a header that it sets on every request and that no
caller can set: Triton appends headers to a request's parameters after those of its body, so of two
of one name the front door's counts. The HTTP generate extension hands no headers on, so there it
is not known, and the front door copies no such request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE = "x-sluice-probe"
"""Request parameter of those who only look (admission, attribution): they are not recorded."""

MARK = "x-sluice-shadow"
"""The front door's header: a request that the weights sent here, a copy, or one that was pinned."""
WEIGHED, COPIED, PINNED = "0", "1", "pinned"


def is_probe(parameters: Mapping[str, Any]) -> bool:
    """Whether somebody only looks. Callers of the front door do not, whatever they say."""
    return PROBE in parameters and MARK not in parameters


def record(
    question: Mapping[str, Any],
    answer: Mapping[str, Any] | str,
    parameters: Mapping[str, Any],
    *,
    at: float,
    latency_ms: float,
) -> dict[str, Any]:
    """Fields of the prediction log for one request; `answer` is the reason when it was refused.

    Session and request come from the forwarded headers `x-session-id` and `x-request-id`.
    """
    fields = {
        **question,
        "at": at,
        "session": _text(parameters, "x-session-id"),
        "request": _text(parameters, "x-request-id"),
        "shadow": parameters.get(MARK) == COPIED,
        "pinned": parameters.get(MARK) == PINNED,
        "latency_ms": latency_ms,
    }
    if isinstance(answer, str):
        return {**fields, "error": answer}
    if "length_chars" in answer and fields.get("duration_s"):
        fields["chars_per_s"] = answer["length_chars"] / fields["duration_s"]
    return {**fields, **answer}


def _text(parameters: Mapping[str, Any], name: str) -> str:
    # The protocol decides the case in which a header arrives.
    found = (str(value) for key, value in parameters.items() if key.lower() == name)
    return next(found, "")
