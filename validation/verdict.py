"""The four verdicts and their order: the worst wins, and no data at all is an error."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXIT_CODES = (0, 3, 2, 1)


class Verdict(IntEnum):
    """What a check, or a whole gate, says. Larger is worse."""

    PASS = 0
    """Shown to be within the limit."""
    INCONCLUSIVE = 1
    """Neither shown to be within the limit nor beyond it."""
    ERROR = 2
    """Not measured."""
    FAIL = 3
    """Shown to be beyond the limit."""

    @property
    def label(self) -> str:
        """The name in files and on screens, in lower case."""
        return self.name.lower()

    @property
    def exit_code(self) -> int:
        """What a command that ends with this verdict returns: 0, 3, 2 or 1."""
        return _EXIT_CODES[self]

    @classmethod
    def from_label(cls, label: str) -> Verdict:
        """The inverse of `label`. Raises KeyError when there is no such verdict."""
        return cls[str(label).upper()]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of `verdicts`; ERROR when there are none, because no data is never a pass."""
    return max(verdicts, default=Verdict.ERROR)
