"""What the journal keeps of a window's estimated quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class WindowEstimate:
    """Mean estimated word error rate of one release's answers in a window, 0 to 1."""

    release: int
    since: float
    until: float
    wer: float
    answers: int

    def to_json(self) -> dict[str, Any]:
        """A value for the journal."""
        return {
            "release": self.release,
            "since": self.since,
            "until": self.until,
            "wer": round(self.wer, 6),
            "answers": self.answers,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> WindowEstimate:
        """Undo `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            int(body["release"]),
            float(body["since"]),
            float(body["until"]),
            float(body["wer"]),
            int(body["answers"]),
        )
