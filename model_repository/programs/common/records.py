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
SENT_TO = "to-"
"""A gateway that cannot mark a copy says on both to which release the weights sent the request."""

LOG_TEXT, REDACTED = "log_text", "redacted"
"""An option of a release's configuration, and its value where the policy keeps texts."""
_ANSWERS = ("transcript", "translation", "completion")
"""The outputs that are an answer's text, by the interfaces of the kinds."""

_MOST_BYTES = 1 << 17
"""Of a text that waits for the log: what is cut here is longer than what redaction takes."""


def is_probe(parameters: Mapping[str, Any]) -> bool:
    """Whether somebody only looks. Callers of the front door do not, whatever they say."""
    return PROBE in parameters and MARK not in parameters


def record(
    question: Mapping[str, Any],
    answer: Mapping[str, Any] | str,
    parameters: Mapping[str, Any],
    *,
    release: int,
    at: float,
    latency_ms: float,
) -> dict[str, Any]:
    """Fields of the prediction log for one request; `answer` is the reason when it was refused.

    `release` is the one that answered.
    Session and request come from the forwarded headers `x-session-id` and `x-request-id`.
    """
    fields = {
        **question,
        "at": at,
        "session": _text(parameters, "x-session-id"),
        "request": _text(parameters, "x-request-id"),
        "shadow": _is_copy(parameters.get(MARK, ""), release),
        "pinned": parameters.get(MARK) == PINNED,
        "latency_ms": latency_ms,
    }
    if isinstance(answer, str):
        return {**fields, "error": answer}
    if "length_chars" in answer and fields.get("duration_s"):
        fields["chars_per_s"] = answer["length_chars"] / fields["duration_s"]
    return {**fields, **answer}


def _is_copy(mark: str, release: int) -> bool:
    return mark == COPIED or (mark.startswith(SENT_TO) and mark != f"{SENT_TO}{release}")


def texts_of(question: Any, outputs: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a request, for a log that redacts them: only those that it had.

    `question` is a row as Triton handed it in, of bytes where a text was asked; `outputs` are the
    answer's, empty when it was refused.
    """
    found = {}
    if question.dtype == object:
        found["input_text"] = bytes(question[0][:_MOST_BYTES]).decode(errors="replace")
    if answer := next((outputs[name] for name in _ANSWERS if name in outputs), None):
        found["text"] = answer
    return found


def _text(parameters: Mapping[str, Any], name: str) -> str:
    # The protocol decides the case in which a header arrives.
    found = (str(value) for key, value in parameters.items() if key.lower() == name)
    return next(found, "")
