"""Tokens so far to text that will not change any more: what a stream may show of an answer.

Held back are bytes that are not yet a character, spaces that may be the last ones, and what may be
the beginning of a stop string. So each text begins with the one before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class Texts:
    """How one model's answers become text; `decode` is its vocabulary's."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str]) -> None:
        self._decode, self._stop = decode, tuple(stop)

    def is_stopped(self, tokens: Sequence[int]) -> bool:
        """Whether a stop string has been written."""
        if not self._stop:
            return False
        text = self._decode(tokens)
        return any(stop in text for stop in self._stop)

    def whole(self, tokens: Sequence[int]) -> str:
        """The text of an answer that has ended."""
        return self._before_stop(self._decode(tokens)).strip()

    def settled(self, tokens: Sequence[int]) -> str:
        """The part of an unfinished answer's text that every longer one begins with."""
        text = self._before_stop(self._decode(tokens)).rstrip(_INCOMPLETE)
        return text[: len(text) - self._begun_stop(text)].strip()

    def _before_stop(self, text: str) -> str:
        found = [place for place in map(text.find, self._stop) if place >= 0]
        return text[: min(found)] if found else text

    def _begun_stop(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        lengths = (
            length
            for stop in self._stop
            for length in range(len(stop) - 1, 0, -1)
            if text.endswith(stop[:length])
        )
        return max(lengths, default=0)


def added(before: str, text: str) -> str:
    """What `text` says beyond `before`; empty where a tokenizer rewrote what it had said."""
    return text[len(before) :] if text.startswith(before) else ""
