"""What a request may ask for: `beam_size`, `language`, `task`, `timestamps`.

Each wrong value is refused by a line that says what may stand there. Numbers and booleans may
come as text, because not every client can send others. There is no `temperature`: answers are
deterministic, so that a gate's golden answers hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .rules import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .rules import Rules

MOST_BEAMS = 8
"""A beam costs a row of the decoder's batch in every step."""
_BOOLEANS = {"true": True, "false": False}
_NAMES = ("beam_size", "language", "task", "timestamps")


def refusal(parameters: Mapping[str, Any], rules: Rules) -> str:
    """Why a model with these rules cannot do what a request asks; empty when it can."""
    if "temperature" in parameters:
        return "temperature is not offered, answers are deterministic; leave it out"
    checks = (_beam_size_refusal, _language_refusal, _task_refusal, _timestamps_refusal)
    asked = (
        check(parameters[name], rules)
        for name, check in zip(_NAMES, checks, strict=True)
        if name in parameters
    )
    return next((reason for reason in asked if reason), "")


def options_of(parameters: Mapping[str, Any], rules: Rules) -> Options:
    """How to decode a request whose parameters `refusal` let pass."""
    if not any(name in parameters for name in _NAMES):
        return rules.options
    timestamps = bool(_boolean(parameters.get("timestamps", False)))
    prompt = rules.prompt_of(
        parameters.get("language"), parameters.get("task"), timestamps=timestamps
    )
    return Options(prompt, timestamps, _integer(parameters.get("beam_size", 1)) or 1)


def _beam_size_refusal(value: Any, _: Rules) -> str:
    if 1 <= (_integer(value) or 0) <= MOST_BEAMS:
        return ""
    return f"beam_size is {value!r}; send an integer from 1 to {MOST_BEAMS}"


def _language_refusal(value: Any, rules: Rules) -> str:
    if not rules.languages:
        return "language is not offered, this model has no language tokens; leave it out"
    if isinstance(value, str) and value in rules.languages:
        return ""
    return f"language is {value!r}; this model knows {', '.join(sorted(rules.languages))}"


def _task_refusal(value: Any, rules: Rules) -> str:
    if not rules.tasks:
        return "task is not offered, this model has no task tokens; leave it out"
    if isinstance(value, str) and value in rules.tasks:
        return ""
    return f"task is {value!r}; this model knows {', '.join(sorted(rules.tasks))}"


def _timestamps_refusal(value: Any, rules: Rules) -> str:
    asked = _boolean(value)
    if asked is None:
        return f"timestamps is {value!r}; send true or false"
    if asked and rules.timestamps is None:
        return "timestamps are not offered, this model has no tokens for times; leave it out"
    return ""


def _integer(value: Any) -> int | None:
    """An integer, or None for what is none; a boolean is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return _BOOLEANS.get(value.lower())
    return value if isinstance(value, bool) else None
