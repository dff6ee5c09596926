"""One request under way, as the engine's thread and those who send and cancel share it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .questions import Question

CANCELLED = "the client cancelled the request"


class Ending(Enum):
    """Why no more tokens will come."""

    ANSWERED = "answered"
    """The model ended, a stop string was written, or there is no room for more."""
    CANCELLED = "cancelled"
    """The client does not want the answer any more."""
    FAILED = "failed"
    """The engine failed."""
    CLOSED = "closed"
    """The program is shutting down."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an answer has got.

    `token_count` leaves out the token that ends the answer; `average_log_probability` is the mean
    natural logarithm over the chosen tokens, that one included, at most 0, and 0 before any;
    `entropy` is the mean of the distributions that they were chosen from, in nats.
    """

    token_count: int = 0
    average_log_probability: float = 0.0
    ending: Ending | None = None
    reason: str = ""
    entropy: float = 0.0


class Job:
    """A question and its answer so far.

    The engine's thread adds tokens and then publishes `progress`, a value that never changes, so
    readers need no lock. Anybody may set `cancelled`; the next round sees it.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.progress = Progress()
        self.cancelled = False
        self._tokens: list[int] = []
        self._log_probability = self._entropy = 0.0
        self._chosen = 0
        self._is_cut_off = False

    @property
    def is_live(self) -> bool:
        """Whether tokens are still to come."""
        return self.progress.ending is None

    @property
    def chosen(self) -> int:
        """How many tokens were computed, the one that ends the answer included."""
        return self._chosen

    def tokens(self, count: int | None = None) -> Sequence[int]:
        """The first `count` tokens of the answer, all without; its end is none of them."""
        return self._tokens[:count]

    @property
    def is_cut_off(self) -> bool:
        """Whether there was no room for more, and it was the model that set the limit."""
        return self._is_cut_off and not self.question.is_limited

    def add(self, token: int, log_probability: float, entropy: float, *, ends: bool) -> None:
        """Take a chosen token, which is no part of the answer when it `ends` it.

        `entropy` of what it was chosen from, in nats.
        """
        if not ends:
            self._tokens.append(token)
        self._chosen += 1
        self._log_probability += log_probability
        self._entropy += entropy
        self._is_cut_off = not ends and self._chosen == self.question.limit
        self._publish(Ending.ANSWERED if ends or self._is_cut_off else None)

    def end(self, ending: Ending, reason: str = "") -> None:
        """Take no more tokens, unless the answer has ended already."""
        if self.is_live:
            self._publish(ending, reason)

    def _publish(self, ending: Ending | None, reason: str = "") -> None:
        chosen = max(1, self._chosen)
        average, entropy = self._log_probability / chosen, self._entropy / chosen
        self.progress = Progress(len(self._tokens), average, ending, reason, entropy)
