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
from pipelines.scrub_places import RELEASES, Place, copies_place, releases_place, store_place
from pipelines.stages import announce
from registry.errors import EngineError, SluiceError
from registry.files import locked
from registry.regions import region_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.assembly import Platform
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

    The copies in its regions too, each journaled in its region; a region that is cut off is told.
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
        parts = [_home(platform, models, everything=not model), *_regions(platform, models)]
        places = [place for part in parts for place in part.places]
        total = sum(place.bytes for place in places)
        heard = on_bytes or ByteProgress("Scrubbing", total)
        for part in parts:
            part.checked = [_check(place, heard) for place in part.places]
            part.tell_what_runs()
        healer = Healer(platform, parts[0].catalogs, places)
        scrubbed = Scrubbed([checked for part in parts for checked in part.checked])
        stamp = datetime.fromtimestamp(clock(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        with ExitStack() as telling:
            for part in parts:
                scrubbed.outcomes += _deal_with(part, healer, stamp, telling)
    scrubbed.seconds = time.monotonic() - began
    return scrubbed


@dataclass
class _Part:
    """What one journal tells of: the workspace's own places, or one region's."""

    platform: Platform
    catalogs: Mapping[str, Catalog]
    places: list[Place]
    checked: list[Checked] = field(default_factory=list)

    def tell_what_runs(self) -> None:
        """Beside the releases that it was loaded from."""
        if running := running_revisions(self.platform, self.catalogs):
            for one in self.checked:
                if one.place.startswith(RELEASES):
                    one.remark = f"what runs was loaded from these: {', '.join(running)}"


def _home(platform: Platform, models: Sequence[str], *, everything: bool) -> _Part:
    catalogs = {name: platform.catalog(name) for name in models}
    places = [
        store_place(platform, catalogs, everything=everything),
        releases_place(platform, catalogs),
        copies_place(platform, catalogs),
    ]
    return _Part(platform, catalogs, places)


def _regions(home: Platform, models: Sequence[str]) -> Iterator[_Part]:
    """Each region's copies; of one that is cut off, only that it is."""
    if not region_names(home.workspace):
        return
    from pipelines.waves.platforms import region_platforms

    for region in region_platforms(home).values():
        try:
            catalogs = {name: region.catalog(name) for name in models}
            yield _Part(region, catalogs, [releases_place(region, catalogs, home=home)])
        except EngineError as error:
            place = Place(
                f"{RELEASES} in {region.name}", remark=f"cut off: {error.what}", cut_off=True
            )
            yield _Part(region, {}, [place])


def _deal_with(part: _Part, healer: Healer, stamp: str, telling: ExitStack) -> list[Outcome]:
    workspace = part.platform.workspace
    quarantine = Quarantine(workspace.quarantine / stamp, workspace.state)
    dealing = _Dealing(part.platform, part.catalogs, healer, quarantine, telling)
    outcomes = [dealing.deal_with(one) for checked in part.checked for one in checked.findings]
    broken = {one.finding.path for one in outcomes}
    dealing.close({path for place in part.places for path in place.looked_at} - broken)
    return outcomes


def _check(place: Place, on_bytes: Callable[[int], None]) -> Checked:
    checked = check_files(place.name, place.files, on_bytes)
    checked.findings[:0] = place.findings
    checked.remark, checked.cut_off = place.remark, place.cut_off
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
