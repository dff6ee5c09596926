"""What the workspace's key states about conversions, gates and releases, as in-toto attestations.

A statement holds no time and no host, so making the same thing again states the same. It is about
digests: an artifact's or a variant's is the SHA-256 of its canonical manifest, which the content
store keeps under that name. Nothing is checked here; `pipelines.verify` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.recipes import conversion_hash
from registry.attestation import CONVERSION, GATE, PROVENANCE, RELEASE, Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.assembly import Platform
    from registry.journal import Entry

ATTESTATION = "attestation"
"""In the body of a journal entry: the digest of what was stated about it."""


def attest_conversion(
    platform: Platform,
    record: Mapping[str, Any],
    *,
    kind: str,
    environment: str,
    calibration: str = "",
) -> str:
    """State of what a variant was made, and how: SLSA provenance v1. Returns its digest.

    `record` is what the journal says of the variant, `environment` the hash of the converter's
    lock, and `calibration` that of the set that the recipe looked at, empty for none.
    """
    sources = [_resource("artifact", record["artifact"])]
    if calibration:
        sources.append(_resource("calibration", calibration))
    predicate = {
        "buildDefinition": {
            "buildType": CONVERSION,
            "externalParameters": {"kind": kind, "recipe": record["recipe"]},
            "internalParameters": {"conversion": conversion_hash(kind)},
            "resolvedDependencies": sources,
        },
        "runDetails": {
            "builder": {
                "id": f"urn:sluice:converter:{environment}",
                "version": dict(record["tool_versions"]),
            },
            "metadata": {"invocationId": record["recipe_key"]},
        },
    }
    return _add(platform, PROVENANCE, {record["variant"]: record["digest"]}, predicate)


def attest_gate(platform: Platform, body: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """State a verdict, and what it rests on. Returns its digest.

    `body` is what the journal says of the gate, `provenance` the report's own.
    """
    predicate = {
        "verdict": body["verdict"],
        "artifact": body["artifact"],
        "report": body["report_digest"],
        "reference": body["reference"],
        "provenance": dict(provenance),
    }
    return _add(platform, GATE, {body["variant"]: body["variant_digest"]}, predicate)


def attest_release(platform: Platform, model: str, body: Mapping[str, Any]) -> str:
    """Bind a release to all that it comes from. Returns its digest.

    `body` is what the journal says of the release. Named with it is the version of the keys that
    it was signed under, so that an older chain put in its place is noticed.
    """
    made = attested(platform.journal.read(model))
    root = platform.signing_key.chain.newest
    predicate = {
        "model": model,
        "release": body["release"],
        "artifact": body["artifact"],
        "variant": body["variant_digest"],
        "report": body["report_digest"],
        "serve": body["serve"],
        "conversion": made.get(("variant-converted", body["variant_digest"]), ""),
        "gate": made.get(("gate-decided", body["report_digest"]), ""),
        "keys": {"version": root.version, "digest": root.digest},
    }
    subject = {f"{model}/{body['release']}": body["manifest_digest"]}
    return _add(platform, RELEASE, subject, predicate)


def attested(entries: Iterable[Entry]) -> dict[tuple[str, str], str]:
    """The newest statement about each thing, by the entry's kind and the digest it is about.

    A conversion is known by its variant, a gate by its report, a release by its manifest.
    """
    found = {}
    for entry in entries:
        about = _ABOUT.get(entry.kind)
        if about is not None and ATTESTATION in entry.body:
            found[entry.kind, str(entry.body[about])] = str(entry.body[ATTESTATION])
    return found


_ABOUT = {
    "variant-converted": "digest",
    "gate-decided": "report_digest",
    "release-published": "manifest_digest",
}


def _add(
    platform: Platform, kind: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]
) -> str:
    statement = Statement(kind, subjects, predicate)
    return platform.attestations.add(statement, platform.signing_key)


def _resource(name: str, sha256: str) -> dict[str, Any]:
    """in-toto's ResourceDescriptor."""
    return {"name": name, "digest": {"sha256": sha256}}
