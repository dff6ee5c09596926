"""The two-person rule: which approvals of a release count, and what is missing. A pure fold.

An approval is of the exact bytes of a release: the digest of its manifest. The same release
number with another digest was never approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.access import Production
    from registry.journal_entry import Entry

APPROVED = "release-approved"
WITHDRAWN = "approval-withdrawn"

KINDS = ("artifact-registered", "release-published", APPROVED, WITHDRAWN)
"""The entries that the rule looks at."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word for one release, given `at` (UTC epoch seconds)."""

    actor: str
    at: float
    counts: bool
    why_not: str = ""
    """Why it does not count; empty when it does."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """What stands for one release."""

    release: int
    needed: int
    given: tuple[Approval, ...]

    @property
    def missing(self) -> int:
        """How many more are needed."""
        return max(0, self.needed - sum(approval.counts for approval in self.given))

    def require(self, model: str) -> None:
        """Raise UserError that says what is missing, and the command, unless all are there."""
        if not self.missing:
            return
        unused = ", ".join(f"{one.actor}'s {one.why_not}" for one in self.given if not one.counts)
        raise UserError(
            f"release {self.release} needs {self.missing} more approval"
            f"{'s' if self.missing > 1 else ''}{f' ({unused})' if unused else ''}",
            where=model,
            remedy=f"ask somebody else for `sluice approve {model} {self.release}`",
        )


def approvals_of(
    entries: Iterable[Entry], rule: Production, *, release: int, promoter: str, now: float
) -> Approvals:
    """What the model's `entries` of `KINDS` say of `release`, should `promoter` promote it `now`.

    A release that was never published has no approvals.
    """
    said: dict[str, Entry] = {}
    digest, artifact, registered = "", "", {}
    for entry in entries:
        body = entry.body
        if entry.kind == "artifact-registered":
            registered[body["digest"]] = entry.actor
        elif body["release"] != release:
            continue
        elif entry.kind == "release-published":
            digest, artifact = body["manifest_digest"], body["artifact"]
        else:
            said[person(entry.actor)] = entry
    registrar = registered.get(artifact, "") if rule.distinct else ""
    given = tuple(
        _judged(entry, rule, digest, promoter, registrar, now)
        for entry in said.values()
        if entry.kind == APPROVED
    )
    return Approvals(release, rule.approvals, given)


def person(actor: str) -> str:
    """The same for `ann` and for `ann@laptop`: one person at two machines is not two."""
    return actor.partition("@")[0].casefold()


def _judged(
    entry: Entry, rule: Production, digest: str, promoter: str, registrar: str, now: float
) -> Approval:
    why_not = ""
    if entry.body["manifest_digest"] != digest:
        why_not = "is of other bytes"
    elif now >= entry.at + rule.expires_hours * 3600:
        why_not = f"is older than {rule.expires_hours:g} h"
    elif person(entry.actor) == person(promoter):
        why_not = "is of the one who promotes"
    elif registrar and person(entry.actor) == person(registrar):
        why_not = "is of the one who registered it"
    return Approval(entry.actor, entry.at, not why_not, why_not)
