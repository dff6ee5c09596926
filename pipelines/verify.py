"""Walks the chain behind what serves, link by link, and says where it breaks first.

From the journal: artifact, variant, gate, release record, bytes in the repository, running
revision, route, serving pointer; in each region, all that is its own. Every byte is read anew,
whatever was remembered of it. It changes nothing, so it may run beside anything.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines import chain_links as links
from pipelines.chain_links import Chain
from pipelines.serving_pointer import last_pointer
from registry.errors import EngineError, IntegrityError, SluiceError, UserError
from registry.regions import region_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from canary.ports import Route
    from canary.states import ModelServing
    from pipelines.assembly import Platform
    from pipelines.waves.platforms import RegionPlatform
    from registry.catalog import Catalog, ReleaseRecord
    from registry.journal import Entry
    from registry.signature import VerifyingKey

OK, BROKEN, DOWN = "ok", "BROKEN", "-"
"""`DOWN`: there was nothing to look at, since the engines do not run."""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, LookupError)


@dataclass(frozen=True, slots=True)
class Link:
    """One link: its kind, what it is of, whether it holds, and what was found."""

    link: str
    of: str
    state: str
    detail: str


@dataclass
class Walk:
    """The links looked at so far."""

    target: str
    links: list[Link] = field(default_factory=list)

    def look(
        self,
        link: str,
        of: str,
        check: Callable[[], str],
        *,
        refuses: type[SluiceError] | None = None,
    ) -> bool:
        """Check one link; returns whether it holds. What is of type `refuses` is raised."""
        try:
            found = Link(link, of, OK, check())
        except SluiceError as error:
            if refuses is not None and isinstance(error, refuses):
                raise
            found = Link(link, of, BROKEN, str(error))
        except _UNREADABLE as error:
            found = Link(link, of, BROKEN, f"cannot be read ({type(error).__name__}: {error})")
        self.links.append(found)
        return found.state == OK

    @property
    def first_break(self) -> Link | None:
        """The first link that does not hold."""
        return next((one for one in self.links if one.state == BROKEN), None)

    def to_dict(self) -> dict[str, Any]:
        """A plain value."""
        broken = self.first_break
        return {
            "target": self.target,
            "whole": broken is None,
            "first_break": asdict(broken) if broken else None,
            "links": [asdict(one) for one in self.links],
        }


def verify_models(
    platform: Platform, models: Sequence[str], *, release: int = 0, every: bool = False
) -> Walk:
    """The chains of `models`. Of each: the releases that serve or run, or `release`, or `every`.

    Raises UserError for a model without an entry in the journal, or a release without one.
    """
    walk = Walk(", ".join(models))
    known = platform.journal.models()
    for model in models:
        if model not in known:
            raise UserError(
                "has nothing to verify yet", where=model, remedy=f"run `sluice register {model}`"
            )
        _walk_model(walk, platform, model, release=release, every=every)
    return walk


def released_at(platform: Platform, path: Path) -> tuple[str, int] | None:
    """Model and number of the release in whose folder `path` is; None for any other place."""
    repository = platform.workspace.repository
    try:
        parts = path.absolute().relative_to(repository).parts
    except ValueError:
        return None
    if len(parts) < 2 or not parts[1].isdecimal():
        return None
    return parts[0].partition(".")[0], int(parts[1])


def _walk_model(walk: Walk, platform: Platform, model: str, *, release: int, every: bool) -> None:
    """What follows a journal or keys that cannot be believed is not looked at."""
    said: list[_Said] = []
    if not walk.look("journal", model, lambda: _read_journal(platform, model, said)):
        return
    (known,) = said
    keys: list[VerifyingKey] = []
    if not _look_at_keys(walk, platform, known, keys):
        return
    chain = Chain(platform, model, known.entries, known.catalog, known.serving, keys[0])
    running = _Running(platform, model)
    chosen = _chosen(chain, running.releases, release=release, every=every)
    for record in chosen:
        _walk_release(walk, chain, record, running)
    if not chosen and known.catalog.artifacts:
        digest = next(reversed(known.catalog.artifacts))
        walk.look("artifact", f"{model} {digest[:12]}", lambda: links.check_artifact(chain, digest))
    for number in running.releases:
        if number not in known.catalog.releases:
            walk.look("revision", f"{model} {number}", _never_published)
    _walk_route(walk, chain, running, model)
    if last_pointer(known.entries) is not None:
        walk.look("pointer", model, lambda: links.check_served(chain, time.time()))
    if region_names(platform.workspace):
        from pipelines.waves.platforms import region_platforms

        for region in region_platforms(platform).values():
            _walk_region(walk, chain, region, release=release, every=every)


def _walk_region(
    walk: Walk, home: Chain, region: RegionPlatform, *, release: int, every: bool
) -> None:
    """What serves there: its own journal, the copies that were brought, what runs and its route."""
    model, name = home.model, region.name
    of, said = f"{model} in {name}", list[_Said]()
    try:
        if model not in region.journal.models():
            walk.links.append(Link("journal", of, DOWN, "nothing was brought there"))
            return
    except EngineError as error:
        walk.links.append(Link("journal", of, DOWN, error.what))
        return
    if not walk.look("journal", of, lambda: _read_journal(region, model, said)):
        return
    (known,) = said
    there = Chain(region, model, known.entries, region.catalog(model), known.serving, home.keys)
    running = _Running(region, model)
    if not release or release in there.catalog.releases:
        for record in _chosen(there, running.releases, release=release, every=every):
            brought = f"{model} {record.release} in {name}"
            walk.look("release", brought, partial(links.check_copy, there, home.catalog, record))
            walk.look("bytes", brought, partial(links.check_bytes, there, record))
            _look_at_revision(walk, there, record.release, running, brought)
    _walk_route(walk, there, running, of)
    if last_pointer(known.entries) is not None:
        walk.look("pointer", of, lambda: links.check_served(there, time.time()))


@dataclass(frozen=True)
class _Said:
    """What the journal says of one model."""

    model: str
    entries: tuple[Entry, ...]
    catalog: Catalog
    serving: ModelServing


def _read_journal(platform: Platform, model: str, said: list[_Said]) -> str:
    """Check the journal's own chain, and keep what it says."""
    from canary.fold import fold
    from registry.catalog import Catalog

    platform.journal.verify(model)
    entries = platform.journal.read(model)
    said.append(_Said(model, entries, Catalog.fold(entries), fold(entries, model=model)))
    return f"holds {len(entries)} entries"


def _look_at_keys(walk: Walk, platform: Platform, known: _Said, keys: list[VerifyingKey]) -> bool:
    """Whether the keys can be believed; a workspace that signed nothing needs none."""
    from registry.signature import VerifyingKey

    folder = platform.workspace.keys
    if not folder.exists() and not (known.catalog.variants or known.catalog.releases):
        walk.links.append(Link("keys", known.model, DOWN, "nothing is signed yet"))
        keys.append(VerifyingKey({}, "", None))
        return True

    def check() -> str:
        keys.append(VerifyingKey.load(folder))
        return links.check_keys(keys[0])

    return walk.look("keys", known.model, check)


def _chosen(
    chain: Chain, running: Sequence[int], *, release: int, every: bool
) -> list[ReleaseRecord]:
    """The releases to look at: what was asked for, else what serves or runs, else the newest."""
    releases = chain.catalog.releases
    if release:
        return [chain.catalog.require_release(chain.model, release)]
    serving = {share.release for share in chain.serving.route or ()}
    wanted = serving | set(running) | {chain.serving.live}
    found = [record for number, record in sorted(releases.items()) if every or number in wanted]
    return found or [releases[max(releases)]] if releases else []


def _walk_release(walk: Walk, chain: Chain, record: ReleaseRecord, running: _Running) -> None:
    number = record.release
    of = f"{chain.model} {number}"
    walk.look("artifact", of, lambda: links.check_artifact(chain, record.artifact))
    walk.look("variant", of, lambda: links.check_variant(chain, record))
    walk.look("gate", of, lambda: links.check_gate(chain, record))
    walk.look("release", of, lambda: links.check_record(chain, record))
    walk.look("bytes", of, lambda: links.check_bytes(chain, record))
    _look_at_revision(walk, chain, number, running, of)


def _look_at_revision(walk: Walk, chain: Chain, release: int, running: _Running, of: str) -> None:
    if release in running.releases:
        walk.look("revision", of, lambda: links.check_revision(chain, release))
    else:
        walk.links.append(Link("revision", of, DOWN, running.why or "does not run"))


def _walk_route(walk: Walk, chain: Chain, running: _Running, of: str) -> None:
    if running.why:
        walk.links.append(Link("route", of, DOWN, running.why))
        return
    walk.look("route", of, lambda: links.check_route(chain, running.route(), running.releases))


def _never_published() -> str:
    raise IntegrityError("it runs and was never published")


class _Running:
    """What runs of a model now: nothing, with the reason, when the engines are down."""

    def __init__(self, platform: Platform, model: str) -> None:
        self._platform, self._model = platform, model
        self.why = ""
        self.releases: tuple[int, ...] = ()
        try:
            self.releases = platform.fleet.running(model)
        except EngineError as error:
            self.why = error.what
        if not self.releases and not self.why:
            try:
                platform.router.read(model)
            except EngineError as error:
                self.why = error.what

    def route(self) -> Route | None:
        """The route in use. Raises EngineError when the router cannot be asked."""
        return self._platform.router.read(self._model)
