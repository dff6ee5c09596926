"""What the journal knows of one model's artifacts, variants, gates and releases: a pure fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.journal import Entry


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """A registered artifact: digest, version and run in MLflow."""

    digest: str
    version: str
    run_id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """A conversion: `digest` in the store, `artifact` it came from, size in bytes."""

    digest: str
    artifact: str
    variant: str
    recipe_key: str
    format: str
    precision: str
    bytes: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A verdict ("pass", "inconclusive", "error", "fail") on a variant.

    `reference` is the digest of what live traffic is compared with first, empty without one.
    """

    variant_digest: str
    artifact: str
    variant: str
    verdict: str
    report_digest: str
    metrics: Mapping[str, float]
    reference: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A published release."""

    release: int
    variant_digest: str
    artifact: str
    variant: str
    report_digest: str
    manifest_digest: str
    body: Mapping[str, Any]


@dataclass
class Catalog:
    """Everything made for one model, in the order in which it was made."""

    KINDS: ClassVar = (
        "artifact-registered",
        "variant-converted",
        "gate-decided",
        "release-reserved",
        "release-published",
    )
    """Of the entries that it takes: a long journal need not be read for it."""

    artifacts: dict[str, ArtifactRecord] = field(default_factory=dict)
    variants: list[VariantRecord] = field(default_factory=list)
    gates: list[GateRecord] = field(default_factory=list)
    releases: dict[int, ReleaseRecord] = field(default_factory=dict)
    reserved: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def fold(cls, entries: Iterable[Entry]) -> Catalog:
        """Read a model's entries in order; those of other rooms are passed over."""
        catalog = cls()
        for entry in entries:
            catalog.take(entry)
        return catalog

    def find_recipe(self, recipe_key: str) -> VariantRecord | None:
        """The newest variant made by this recipe key."""
        return next((v for v in reversed(self.variants) if v.recipe_key == recipe_key), None)

    def require_recipe(self, recipe_key: str) -> VariantRecord:
        """As `find_recipe`. Raises KeyError when nothing was made by the key."""
        found = self.find_recipe(recipe_key)
        if found is None:
            raise KeyError(recipe_key)
        return found

    def find_variant(self, artifact: str, variant: str) -> VariantRecord | None:
        """The newest conversion of `artifact` to `variant`."""
        return next(
            (v for v in reversed(self.variants) if (v.artifact, v.variant) == (artifact, variant)),
            None,
        )

    def variant_by_digest(self, digest: str) -> VariantRecord:
        """The variant with this digest. Raises KeyError for one that no journal entry names."""
        found = next((v for v in reversed(self.variants) if v.digest == digest), None)
        if found is None:
            raise KeyError(digest)
        return found

    def newest_gate(self, variant_digest: str) -> GateRecord | None:
        """The last verdict on a variant: it replaces those before it."""
        return next((g for g in reversed(self.gates) if g.variant_digest == variant_digest), None)

    def passed_gates(self, artifact: str) -> tuple[GateRecord, ...]:
        """The newest verdict of each variant of `artifact`, where it is a pass."""
        newest = {gate.variant_digest: gate for gate in self.gates if gate.artifact == artifact}
        return tuple(gate for gate in newest.values() if gate.verdict == "pass")

    def release_of(
        self, variant_digest: str, report_digest: str, serve: str = ""
    ) -> ReleaseRecord | None:
        """The release that this variant and verdict already have, served by this policy."""
        wanted = (variant_digest, report_digest, serve)
        found = (record for record in self.releases.values() if _identity(record.body) == wanted)
        return next(found, None)

    def reserved_release(
        self, variant_digest: str, report_digest: str, serve: str = ""
    ) -> int | None:
        """The number reserved for this variant, verdict and policy, and not yet published."""
        wanted = (variant_digest, report_digest, serve)
        found = (number for number, body in self.reserved.items() if _identity(body) == wanted)
        return next(found, None)

    @property
    def next_release(self) -> int:
        """The number after every one that was given out: numbers only grow."""
        return max([0, *self.releases, *self.reserved]) + 1

    def require_release(self, model: str, release: int) -> ReleaseRecord:
        """The release with this number. Raises UserError when it was never published."""
        if release not in self.releases:
            known = ", ".join(map(str, self.releases)) or "none"
            raise UserError(f"no release {release}; there are {known}", where=model)
        return self.releases[release]

    def take(self, entry: Entry) -> None:
        """One more entry, of any kind."""
        body = entry.body
        match entry.kind:
            case "artifact-registered":
                record = ArtifactRecord(body["digest"], body["version"], body["run_id"], body)
                # Registered again later counts as the newest.
                self.artifacts.pop(record.digest, None)
                self.artifacts[record.digest] = record
            case "variant-converted":
                self.variants.append(_variant(body))
            case "gate-decided":
                self.gates.append(_gate(body))
            case "release-reserved":
                self.reserved[body["release"]] = body
            case "release-published":
                self.reserved.pop(body["release"], None)
                self.releases[body["release"]] = _release(body)
            case _:
                pass


def _variant(body: Mapping[str, Any]) -> VariantRecord:
    names = ("digest", "artifact", "variant", "recipe_key", "format", "precision", "bytes")
    return VariantRecord(**{name: body[name] for name in names}, body=body)


def _gate(body: Mapping[str, Any]) -> GateRecord:
    names = ("variant_digest", "artifact", "variant", "verdict", "report_digest", "metrics")
    return GateRecord(**{name: body[name] for name in names}, reference=body.get("reference", ""))


def _release(body: Mapping[str, Any]) -> ReleaseRecord:
    names = ("release", "variant_digest", "artifact", "variant", "report_digest", "manifest_digest")
    return ReleaseRecord(**{name: body[name] for name in names}, body=body)


def _identity(body: Mapping[str, Any]) -> tuple[str, str, str]:
    return body["variant_digest"], body["report_digest"], body.get("serve", "")
