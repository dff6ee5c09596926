"""The journal, telling each entry as an event: the name of its kind, and a few of its facts.

Only facts on the list below are told, so that nothing of a body that grows later leaves unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.journal import Journal
from registry.spans import event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.journal import Entry
    from registry.lease import Lease
    from registry.spans import Value

_TOLD = (
    *("release", "candidate", "baseline", "to", "rollout", "step", "phase", "outcome"),
    *(
        "decision",
        "rule",
        "reason",
        "verdict",
        "variant",
        "precision",
        "format",
        "seconds",
        "bytes",
    ),
    *("effect", "name", "case", "severity", "finding", "pairs"),
)
_MOST_LETTERS = 300


class ToldJournal(Journal):
    """A journal whose entries are told once they are written."""

    def append(
        self,
        model: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        actor: str,
        at: float,
        lease: Lease | None = None,
        after: int | None = None,
    ) -> Entry:
        """As `Journal.append`; then the entry is told."""
        entry = super().append(model, kind, body, actor=actor, at=at, lease=lease, after=after)
        event(kind, **facts(entry))
        return entry


def facts(entry: Entry) -> dict[str, Value]:
    """Model, sequence, actor, and those facts of the body that are plain."""
    told: dict[str, Value] = {
        "model": entry.model,
        "sequence": entry.sequence,
        "actor": entry.actor,
    }
    for name in _TOLD:
        value = entry.body.get(name)
        if isinstance(value, str):
            told[name] = value[:_MOST_LETTERS]
        elif isinstance(value, int | float):
            told[name] = value
    if "candidate" in told:
        told.setdefault("release", told["candidate"])
    return told
