"""Who depends on damaged bytes: artifacts, variants, releases, what is live, and what runs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.assembly import Platform
    from pipelines.scrub_findings import Finding
    from registry.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Dependents:
    """What of one model depends on one file.

    `route` is the percentage of live traffic by release, of those that depend on the file.
    `running` are its revisions; `loaded_after` those that began after the file's last change, so
    that they may have loaded what is damaged. Each of the others has good bytes in memory.
    """

    model: str
    artifacts: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    releases: tuple[int, ...] = ()
    live: bool = False
    route: tuple[tuple[int, int], ...] = ()
    running: tuple[int, ...] = ()
    loaded_after: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the journal, the note and the answer."""
        return {
            "model": self.model,
            "artifacts": list(self.artifacts),
            "variants": list(self.variants),
            "releases": list(self.releases),
            "live": self.live,
            "route": {str(release): weight for release, weight in self.route},
            "running": list(self.running),
            "loaded_after": list(self.loaded_after),
        }

    def sentence(self) -> str:
        """In a few words."""
        parts = [f"artifact {digest[:12]}" for digest in self.artifacts]
        parts += [f"variant {name}" for name in self.variants]
        shares = dict(self.route)
        for release in self.releases:
            state = f" ({shares[release]} % of the traffic)" if release in shares else ""
            if release in self.loaded_after:
                state += ", loaded after the change"
            elif release in self.running:
                state += ", running from memory"
            parts.append(f"release {release}{state}")
        return f"{self.model}: {', '.join(parts)}"


def dependents(
    platform: Platform, catalogs: Mapping[str, Catalog], finding: Finding
) -> tuple[Dependents, ...]:
    """Of each model that depends on the file of `finding`."""
    return tuple(
        found
        for model, catalog in catalogs.items()
        if (found := _of_model(platform, model, catalog, finding)) is not None
    )


def running_revisions(platform: Platform, models: Iterable[str]) -> tuple[str, ...]:
    """What runs now from the files of the repository, as "model release"."""
    return tuple(
        f"{model} {release}" for model in models for release in sorted(_running(platform, model))
    )


def _of_model(
    platform: Platform, model: str, catalog: Catalog, finding: Finding
) -> Dependents | None:
    expected = finding.expected
    if expected.release is not None:
        if expected.release[0] != model:
            return None
        return _with_serving(platform, Dependents(model, releases=expected.release[1:]), finding)
    if expected.artifact is not None:
        own = expected.artifact[0] == model
        return Dependents(model, artifacts=expected.artifact[1:]) if own else None
    digests = expected.digests
    artifacts = tuple(digest for digest in catalog.artifacts if digest in digests)
    variants = tuple(v for v in catalog.variants if v.digest in digests)
    if not artifacts and not variants:
        return None
    names = tuple(dict.fromkeys(f"{v.variant} of {v.artifact[:12]}" for v in variants))
    made = {variant.digest for variant in variants}
    releases = tuple(n for n, record in catalog.releases.items() if record.variant_digest in made)
    return _with_serving(platform, Dependents(model, artifacts, names, releases), finding)


def _with_serving(platform: Platform, found: Dependents, finding: Finding) -> Dependents:
    serving = platform.serving(found.model)
    shares = {share.release: share.weight for share in serving.route or () if share.weight}
    running = _running(platform, found.model)
    route = tuple((release, shares[release]) for release in found.releases if release in shares)
    runs = tuple(release for release in found.releases if release in running)
    late = tuple(release for release in runs if _began_after(running[release], finding))
    of_release = finding.expected.release is not None
    return Dependents(
        found.model,
        found.artifacts,
        found.variants,
        found.releases,
        live=bool(route) or serving.live in found.releases,
        route=route,
        running=runs,
        loaded_after=late if of_release else (),
    )


def _began_after(began: float, finding: Finding) -> bool:
    return finding.changed_at is not None and began > finding.changed_at


def _running(platform: Platform, model: str) -> dict[int, float]:
    """Releases with a revision, and since when (UTC epoch seconds); nothing while all is down."""
    try:
        return {release: _began(platform, model, release) for release in _asked(platform, model)}
    except SluiceError:
        return {}


def _asked(platform: Platform, model: str) -> Iterator[int]:
    yield from platform.fleet.running(model)


def _began(platform: Platform, model: str, release: int) -> float:
    """When its process began; 0 when nobody can tell."""
    import psutil

    from infra.local.fleet import program_name
    from infra.local.supervision import Supervisor

    supervisor = Supervisor(platform.workspace.run, platform.workspace.logs)
    with suppress(SluiceError, psutil.Error, OSError):
        process = supervisor.states().get(program_name(model, release))
        if process is not None and process.pid:
            return min(float(psutil.Process(process.pid).create_time()), time.time())
    return 0.0
