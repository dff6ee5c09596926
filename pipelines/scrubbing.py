"""One scrub: looks at everything, and then, file by file, journals, takes away and heals.

What is damaged is journaled before it is moved, and healed only by bytes that hash to what was
recorded. A running revision is never stopped: its memory is as good as when it was loaded. A
release whose files are gone or changed can no more be admitted, whoever asks.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.byte_progress import ByteProgress
from pipelines.notifications import notifying
from pipelines.quarantine import Quarantine, inode_of
from pipelines.scrub_dependents import Dependents, dependents, running_revisions
from pipelines.scrub_findings import EXTRA, Checked, Finding, check_files
from pipelines.scrub_healing import Healer
from pipelines.scrub_places import copies_place, releases_place, store_place
from pipelines.stages import announce
from registry.errors import SluiceError
from registry.files import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pipelines.assembly import Platform
    from pipelines.scrub_places import Place
    from registry.catalog import Catalog

BROKEN, QUARANTINED, HEALED = "integrity-broken", "quarantined", "healed"
"""Kinds of journal entries: bytes are not as recorded, were taken away, are as recorded again."""

AS_RECORDED = "whoever put it right: it is as recorded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a finding: "healed", "quarantined", "missing" or "left", and why it was."""

    finding: Finding
    outcome: str
    moved_to: str = ""
    healed_from: str = ""
    reason: str = ""
    affected: tuple[Dependents, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the answer."""
        return {
            "place": self.finding.place,
            "path": str(self.finding.path),
            "what": self.finding.what,
            "outcome": self.outcome,
            "moved_to": self.moved_to,
            "healed_from": self.healed_from,
            "reason": self.reason,
            "affected": [one.to_json() for one in self.affected],
        }


@dataclass
class Scrubbed:
    """What was checked and what was found; `whole` when nothing was."""

    checked: list[Checked] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether every byte is as recorded."""
        return not self.outcomes

    def to_json(self) -> dict[str, Any]:
        """For `--output json` and the flow's result."""
        return {
            "whole": self.whole,
            "checked": [one.to_json() for one in self.checked],
            "findings": [one.to_json() for one in self.outcomes],
            "seconds": round(self.seconds, 3),
        }


def scrub_workspace(
    platform: Platform,
    model: str = "",
    *,
    on_bytes: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> Scrubbed:
    """Hash everything of the workspace, or of `model`, from the disk; deal with what is damaged.

    Raises UserError for an unknown model, RetryableEngineError while another scrub is at work, and
    EngineError when the journal cannot be read or written: nothing is moved without an entry.
    """
    workspace, began = platform.workspace, time.monotonic()
    if model:
        workspace.require_model(model)
    busy = "another scrub is at work"
    with locked(workspace.state / "scrub.lock", timeout_s=0.0, busy=busy):
        models = (
            [model] if model else sorted({*workspace.model_names(), *platform.journal.models()})
        )
        catalogs = {name: platform.catalog(name) for name in models}
        places = [
            store_place(platform, catalogs, everything=not model),
            releases_place(platform, catalogs),
            copies_place(platform, catalogs),
        ]
        total = sum(place.bytes for place in places)
        heard = on_bytes or ByteProgress("Scrubbing", total)
        scrubbed = Scrubbed([_check(place, heard) for place in places])
        if running := running_revisions(platform, catalogs):
            _, releases, _ = scrubbed.checked
            releases.remark = f"what runs was loaded from these: {', '.join(running)}"
        healer = Healer(platform, catalogs, places)
        stamp = datetime.fromtimestamp(clock(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        quarantine = Quarantine(workspace.quarantine / stamp, workspace.state)
        with ExitStack() as telling:
            dealing = _Dealing(platform, catalogs, healer, quarantine, telling)
            for checked in scrubbed.checked:
                scrubbed.outcomes += [dealing.deal_with(one) for one in checked.findings]
            broken = {one.finding.path for one in scrubbed.outcomes}
            dealing.close({path for place in places for path in place.looked_at} - broken)
    scrubbed.seconds = time.monotonic() - began
    return scrubbed


def _check(place: Place, on_bytes: Callable[[int], None]) -> Checked:
    checked = check_files(place.name, place.files, on_bytes)
    checked.findings[:0] = place.findings
    checked.remark = place.remark
    return checked


class _Dealing:
    """Journals, moves and heals, one finding after the other."""

    def __init__(
        self,
        platform: Platform,
        catalogs: Mapping[str, Catalog],
        healer: Healer,
        quarantine: Quarantine,
        telling: ExitStack,
    ) -> None:
        self._platform = platform
        self._catalogs = catalogs
        self._healer = healer
        self._quarantine = quarantine
        self._telling = telling
        self._told: set[str] = set()

    def deal_with(self, finding: Finding) -> Outcome:
        affected = dependents(self._platform, self._catalogs, finding)
        facts = {
            "place": finding.place,
            "path": self._name(finding),
            "what": finding.what,
            "expected": finding.expected.sha256,
            "found": finding.found,
        }
        for one in affected:
            self._journal_broken(one, facts, again=finding.stays or finding.inode is None)
        moved_to, reason = "", ""
        if finding.stays:
            return Outcome(finding, "left", reason=finding.what, affected=affected)
        if finding.inode is not None:
            note = facts | {"affected": [one.to_json() for one in affected]}
            try:
                moved = self._quarantine.take(finding.path, finding.inode, note)
            except SluiceError as error:
                return Outcome(finding, "left", reason=str(error), affected=affected)
            if moved is None:
                return self._healed(finding, affected, facts, "another command, meanwhile")
            moved_to = str(moved)
            for one in affected:
                self._append(one.model, QUARANTINED, facts | {"moved_to": moved_to})
        source = ""
        try:
            source = self._healer.heal(finding)
        except SluiceError as error:
            reason = str(error)
        if source:
            return self._healed(finding, affected, facts, source, moved_to)
        outcome = "quarantined" if moved_to else "missing"
        return Outcome(finding, outcome, moved_to, reason=reason, affected=affected)

    def close(self, well: Iterable[Path]) -> None:
        """Journal that what was broken before is well again, or that what was too much is gone."""
        root = self._platform.workspace.root
        names = {str(path.relative_to(root)) for path in well}
        for model in self._catalogs:
            for path, what in self._standing(model).items():
                gone = what == EXTRA and inode_of(root / path) is None
                if path in names or gone:
                    self._append(model, HEALED, {"path": path, "from": AS_RECORDED})

    def _healed(
        self,
        finding: Finding,
        affected: tuple[Dependents, ...],
        facts: dict[str, Any],
        source: str,
        moved_to: str = "",
    ) -> Outcome:
        for one in affected:
            self._append(one.model, HEALED, facts | {"from": source})
        return Outcome(finding, "healed", moved_to, source, affected=affected)

    def _name(self, finding: Finding) -> str:
        return str(finding.path.relative_to(self._platform.workspace.root))

    def _standing(self, model: str) -> dict[str, str]:
        """Paths that a scrub found broken and no later one well, and what was wrong."""
        standing: dict[str, str] = {}
        for entry in self._platform.journal.read(model):
            if entry.kind == BROKEN:
                standing[entry.body["path"]] = entry.body["what"]
            elif entry.kind == HEALED:
                standing.pop(entry.body["path"], None)
        return standing

    def _journal_broken(self, one: Dependents, facts: dict[str, Any], *, again: bool) -> None:
        """`again`: it may be what was told of before, and is no news tomorrow."""
        if again and facts["path"] in self._standing(one.model):
            return
        if one.model not in self._told:
            self._told.add(one.model)
            self._telling.enter_context(notifying(self._platform, one.model, strict=False))
        reason = f"{facts['path']} {facts['what']}; {one.sentence()}"
        body = facts | one.to_json() | {"calls": True, "reason": reason}
        self._append(one.model, BROKEN, body)
        announce(f"{facts['path']} {facts['what']}")

    def _append(self, model: str, kind: str, body: dict[str, Any]) -> None:
        self._platform.append(model, kind, body)
