"""Which token may come next: suppressed ones never, and times by Whisper's rules.

Source: Radford et al. 2022, `whisper/decoding.py`, SuppressBlank, SuppressTokens and
ApplyTimestampRules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .rules import Options, Rules, Timestamps


class Constraint(Protocol):
    """Takes from logits what may not be said."""

    def __call__(self, logits: NDArray[np.float32], said: NDArray[np.int64]) -> NDArray[np.float32]:
        """The logits [rows, vocabulary] with minus infinity where a token may not follow.

        `said` are the tokens so far without the prompt, [rows, length]. Never changes what it is
        given, and may give it back.
        """
        ...


def constraint(rules: Rules, options: Options) -> Constraint:
    """What `options` ask of a model with these rules. The model must have what they ask for."""
    if options.timestamps and rules.timestamps is not None:
        return TimestampRules(rules, rules.timestamps)
    return Suppression(rules)


class Suppression:
    """Tokens that the model never writes, or never writes first."""

    def __init__(self, rules: Rules) -> None:
        self._allowed, self._at_start = (
            _unless_all(rules.allowed),
            _unless_all(rules.allowed_at_start),
        )

    def __call__(self, logits: NDArray[np.float32], said: NDArray[np.int64]) -> NDArray[np.float32]:
        """See Constraint."""
        allowed = self._allowed if said.shape[1] else self._at_start
        return logits if allowed is None else logits + allowed


class TimestampRules:
    """Segments: each starts and ends with a time, none earlier than the one before."""

    def __init__(self, rules: Rules, times: Timestamps) -> None:
        self._suppression = Suppression(rules)
        self._times = times
        self._end_of_text, self._no_timestamps = rules.end_of_text, rules.no_timestamps
        self._ids = np.arange(times.begin, times.begin + times.count)

    def __call__(self, logits: NDArray[np.float32], said: NDArray[np.int64]) -> NDArray[np.float32]:
        """See Constraint."""
        begin = self._times.begin
        left = self._suppression(logits, said).copy()
        left[:, self._no_timestamps] = -np.inf
        left[:, begin + self._times.count :] = -np.inf
        if said.shape[1]:
            self._pair(left, said)
        else:
            left[:, :begin] = -np.inf
            left[:, begin + self._times.max_initial + 1 :] = -np.inf
        # A time is written when all times together are likelier than any one other token.
        shares = np.exp(left - left.max(-1, keepdims=True))
        timed = shares[:, begin:].sum(-1) > shares[:, :begin].max(-1)
        left[timed, :begin] = -np.inf
        return left

    def _pair(self, left: NDArray[np.float32], said: NDArray[np.int64]) -> None:
        """Times come in pairs, but before the end of the text, and never decrease."""
        begin = self._times.begin
        timed = said >= begin
        last = timed[:, -1]
        before = timed[:, -2] if said.shape[1] > 1 else np.ones_like(last)
        left[last & before, begin:] = -np.inf
        left[last & ~before, : self._end_of_text] = -np.inf
        # A segment's end may start the next one; any other time must be later than the latest.
        earliest = said.max(-1) + np.where(last & ~before, 0, 1)
        any_time = np.asarray(timed.any(-1))
        early = any_time[:, None] & (self._ids < earliest[:, None])
        left[:, begin : begin + self._times.count][early] = -np.inf


def _unless_all(allowed: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """None when every token is allowed: adding nothing to a large vocabulary takes its time."""
    return allowed if allowed.any() else None
