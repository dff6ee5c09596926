"""The checks of one link each, between what the journal says and what is there.

Every check reads bytes anew, raises IntegrityError (or another of ours) when the link is broken,
and returns the few words that a person reads when it holds. None changes anything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState
from model_repository.layout import VARIANT, ReleaseLayout
from model_repository.publishing import check_files, read_record
from pipelines.attesting import ATTESTATION
from pipelines.evidence import REPORT
from pipelines.serving_pointer import check_pointer
from registry.attestation import CONVERSION, GATE, PROVENANCE, RELEASE
from registry.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from canary.ports import Route, Share
    from canary.states import ModelServing
    from pipelines.assembly import Platform
    from registry.attestation import Statement
    from registry.catalog import Catalog, ReleaseRecord
    from registry.journal import Entry
    from registry.manifest import Manifest
    from registry.signature import VerifyingKey

PASS = "pass"  # noqa: S105 - a verdict


@dataclass(frozen=True)
class Chain:
    """What the links of one model are checked against."""

    platform: Platform
    model: str
    entries: tuple[Entry, ...]
    catalog: Catalog
    serving: ModelServing
    keys: VerifyingKey

    def entry(self, kind: str, **facts: object) -> Entry:
        """The newest entry of the kind with these facts. Raises IntegrityError."""
        for entry in reversed(self.entries):
            if entry.kind == kind and all(entry.body.get(k) == v for k, v in facts.items()):
                return entry
        raise IntegrityError(f"the journal holds no {kind} entry of it")

    def statement(self, entry: Entry, kind: str, subject: str) -> Statement:
        """What was stated about the entry's subject. Raises IntegrityError."""
        digest = entry.body.get(ATTESTATION)
        if not isinstance(digest, str) or not digest:
            raise IntegrityError(
                "it has no attestation", where=f"entry {entry.sequence}", remedy="make it again"
            )
        statement = self.platform.attestations.read(digest, self.keys)
        if statement.kind != kind or set(statement.subjects.values()) != {subject}:
            raise IntegrityError(f"attestation {digest[:12]} is about something else")
        return statement


def check_keys(keys: VerifyingKey) -> str:
    """That there is a chain of keys; it was checked when it was read."""
    if keys.chain is None:
        raise IntegrityError("there is no chain of keys", remedy="`sluice keys list` begins one")
    newest = keys.chain.newest
    until = datetime.fromtimestamp(newest.expires, UTC)
    return f"version {newest.version}, key {newest.signing[:12]} signs until {until:%Y-%m-%d}"


def check_artifact(chain: Chain, digest: str) -> str:
    """That the artifact was registered, and every byte of it is in the store."""
    entry = chain.entry("artifact-registered", digest=digest)
    chain.platform.store.verify(digest)
    signed = entry.body.get("signature")
    if signed is None and chain.platform.workspace.settings.trust.require_signature:
        raise IntegrityError("it was registered without a signature, and [trust] requires one")
    by = f"signed by {signed['signer'][:40]}" if signed else "not signed by its maker"
    return f"{_size(chain.platform.store.manifest(digest))}, {by}"


def check_variant(chain: Chain, release: ReleaseRecord) -> str:
    """That the variant's bytes are in the store, and made from the artifact by the recipe."""
    digest = release.variant_digest
    entry = chain.entry("variant-converted", digest=digest)
    chain.platform.store.verify(digest)
    if entry.body["artifact"] != release.artifact:
        raise IntegrityError("it was made from another artifact than the release names")
    definition = chain.statement(entry, PROVENANCE, digest).predicate["buildDefinition"]
    sources = [one["digest"]["sha256"] for one in definition["resolvedDependencies"]]
    stated = (definition["buildType"], sources[0], definition["externalParameters"]["recipe"])
    if stated != (CONVERSION, release.artifact, entry.body["recipe"]):
        raise IntegrityError("its provenance is of another conversion")
    return f"{_size(chain.platform.store.manifest(digest))}, made of {release.artifact[:12]}"


def check_gate(chain: Chain, release: ReleaseRecord) -> str:
    """That the report is the one judged, about this variant, and a pass."""
    entry = chain.entry(
        "gate-decided", report_digest=release.report_digest, variant_digest=release.variant_digest
    )
    path = chain.platform.workspace.reports / release.report_digest / REPORT
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError("the report is missing", where=str(path)) from error
    if hashlib.sha256(content).hexdigest() != release.report_digest:
        raise IntegrityError("is not the report that was judged", where=str(path))
    report = json.loads(content)
    stated = chain.statement(entry, GATE, release.variant_digest).predicate
    verdicts = {entry.body["verdict"], stated["verdict"], report["verdict"]}
    judged = {stated["report"], release.report_digest}
    if verdicts != {PASS} or judged != {release.report_digest}:
        raise IntegrityError(f"the verdict is not a pass but {', '.join(sorted(verdicts))}")
    if report["provenance"]["digests"]["variant"] != release.variant_digest:
        raise IntegrityError("the report is about another variant", where=str(path))
    return f"report {release.report_digest[:12]}, {PASS}"


def check_record(chain: Chain, release: ReleaseRecord) -> str:
    """That the signed record and the attestation bind what the journal binds."""
    body, signed = release.body, _check_signed(chain, release)
    entry = chain.entry("release-published", release=release.release)
    stated = chain.statement(entry, RELEASE, release.manifest_digest).predicate
    wanted = {
        "model": chain.model,
        "release": release.release,
        "artifact": release.artifact,
        "variant": release.variant_digest,
        "report": release.report_digest,
        "serve": body.get("serve", ""),
    }
    for name, value in wanted.items():
        if stated[name] != value:
            raise IntegrityError(f"its attestation names another {name}")
    _check_bound(chain, "conversion", stated, "variant-converted", digest=release.variant_digest)
    _check_bound(chain, "gate", stated, "gate-decided", report_digest=release.report_digest)
    _check_keys_stated(chain, stated["keys"])
    return signed


def check_copy(chain: Chain, home: Catalog, release: ReleaseRecord) -> str:
    """That a region's signed record is the one that its home published."""
    published = home.releases.get(release.release)
    if published is None or published.body != release.body:
        raise IntegrityError("it is not the release that the home published")
    return _check_signed(chain, release)


def check_bytes(chain: Chain, release: ReleaseRecord) -> str:
    """That every byte in the repository is signed, and the model in it is the variant."""
    places = chain.platform.workspace
    layout = ReleaseLayout(places.repository, chain.model, release.release)
    manifest = read_record(layout, places.releases, chain.keys)
    check_files(layout, manifest)
    variant = {file.sha256 for file in chain.platform.store.manifest(release.variant_digest).files}
    for file in manifest.files:
        if f"/{VARIANT}/" in file.path and file.sha256 not in variant:
            raise IntegrityError("is no file of the variant", where=file.path)
    if missing := variant - {file.sha256 for file in manifest.files}:
        raise IntegrityError(
            f"lacks {len(missing)} of the variant's files", where=str(layout.folder)
        )
    return _size(manifest)


def check_revision(chain: Chain, release: int) -> str:
    """That a running server holds the release, and answers as its gate recorded."""
    status = chain.platform.fleet.status(chain.model, release)
    if status.state is not RevisionState.READY:
        if release in {share.release for share in chain.serving.route or () if share.weight}:
            raise IntegrityError(f"it gets traffic and is {status.state}: {status.detail}")
        return f"{status.state}: {status.detail}".rstrip(": ")
    admission = chain.platform.fleet.admit(chain.model, release)
    if not admission.admitted:
        check, _, detail = admission.checks[-1]
        raise IntegrityError(f"{check}: {detail}")
    return "ready, version and golden answers are the gate's"


def check_route(chain: Chain, route: Route | None, running: Sequence[int]) -> str:
    """That traffic goes where the journal says, to releases that were published and run."""
    shares = route.shares if route else ()
    for share in shares:
        if share.release not in chain.catalog.releases:
            raise IntegrityError(f"release {share.release} gets traffic and was never published")
        if share.weight and share.release not in running:
            raise IntegrityError(f"release {share.release} gets traffic and does not run")
    known = chain.serving.route or ()
    if chain.serving.pending is None and _weights(shares) != _weights(known):
        raise IntegrityError(f"it is {_told(shares)}, and the journal says {_told(known)}")
    return _told(shares)


def check_served(chain: Chain, now: float) -> str:
    """That the signed pointer is the newest one journaled, and names what serves."""
    serving = chain.serving
    # While traffic moves, the pointer names what the alias names.
    named = serving.live if serving.rollout is None or serving.alias is None else serving.alias
    if named is None:
        raise IntegrityError("a pointer was signed, and nothing serves")
    pointer = check_pointer(
        chain.platform.workspace, chain.model, chain.entries, chain.keys, named, now=now
    )
    return f"number {pointer.sequence} names release {pointer.release}"


def _check_signed(chain: Chain, release: ReleaseRecord) -> str:
    """That the signed record in the repository is the one that was journaled."""
    places = chain.platform.workspace
    layout = ReleaseLayout(places.repository, chain.model, release.release)
    manifest = read_record(layout, places.releases, chain.keys)
    if manifest.digest != release.manifest_digest:
        raise IntegrityError("the record is not the one that was journaled")
    return f"manifest {release.manifest_digest[:12]}, {len(manifest.files)} files signed"


def _check_bound(
    chain: Chain, name: str, stated: Mapping[str, Any], kind: str, **facts: object
) -> None:
    """The statement that a release was bound to is one of those that were journaled."""
    entries = [
        entry
        for entry in chain.entries
        if entry.kind == kind and all(entry.body.get(k) == v for k, v in facts.items())
    ]
    if stated[name] not in {entry.body.get(ATTESTATION) for entry in entries}:
        raise IntegrityError(f"its attestation is bound to another {name}")


def _check_keys_stated(chain: Chain, named: Mapping[str, Any]) -> None:
    known = chain.keys.chain.versions if chain.keys.chain else ()
    versions = {root.version: root.digest for root in known}
    if versions.get(named["version"]) != named["digest"]:
        raise IntegrityError(
            f"version {named['version']} of the keys is not the one it was signed under",
            remedy="restore root.json from a copy",
        )


def _weights(shares: Sequence[Share]) -> dict[int, int]:
    return {share.release: share.weight for share in shares if share.weight}


def _told(shares: Sequence[Share]) -> str:
    told = ", ".join(f"{share.weight} % to release {share.release}" for share in shares)
    return told or "no route"


def _size(manifest: Manifest) -> str:
    return f"{len(manifest.files)} files, {manifest.size / 1e6:.2f} MB"
