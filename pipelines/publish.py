"""Flow: a gated variant becomes a numbered, signed release in the Triton repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from infra.bucket_place import open_blobs
from model_repository.bucket_release import keep_release
from model_repository.golden import GoldenSet
from model_repository.publishing import publish as publish_release
from pipelines.assembly import Platform
from pipelines.attesting import ATTESTATION, attest_release
from pipelines.convert import chosen_artifact
from pipelines.data import gate_dataset
from pipelines.gate import chosen_variant
from pipelines.model_config import load_model_config
from pipelines.stages import Stages
from registry.errors import UserError
from registry.hash_memory import HashMemory
from registry.signature import VerifyingKey
from registry.workspace import Workspace
from validation.answers import Answer

if TYPE_CHECKING:
    from registry.catalog import Catalog, GateRecord

GOLDEN_REQUESTS = 8


@task(name="publish-release", cache_policy=NO_CACHE)
def write_release(workspace: str, model: str, release: int, gate: dict[str, str]) -> dict[str, Any]:
    """Stage, hash, sign and rename the release into the repository. Doing it again is harmless."""
    platform = Platform(Workspace(Path(workspace)))
    places = platform.workspace
    config = load_model_config(places, model)
    with platform.scratch("publish") as work:
        platform.store.checkout(gate["variant_digest"], work / "variant")
        published = publish_release(
            places,
            model,
            release,
            kind=config.kind,
            variant_folder=work / "variant",
            golden=golden_set(platform, model, gate["report_digest"]),
            batching=config.batching,
            provenance=gate,
            signing_key=platform.signing_key,
            memory=HashMemory.of_workspace(places),
        )
    if address := places.repository_address:
        keep_release(
            open_blobs(address),
            places,
            model,
            release,
            key=VerifyingKey.load(places.keys),
            memory=HashMemory.of_workspace(places),
        )
    return {
        "manifest_digest": published.manifest.digest,
        "bytes": published.manifest.size,
    }


def golden_set(platform: Platform, model: str, report_digest: str) -> GoldenSet:
    """Requests whose answers the gate recorded, to be asked again before traffic is admitted."""
    config = load_model_config(platform.workspace, model)
    dataset = gate_dataset(platform, config)
    records = json.loads((platform.workspace.reports / report_digest / "answers.json").read_text())
    answers = [Answer(**record) for record in records if not record["error"]]
    return GoldenSet.choose(dataset, answers, count=GOLDEN_REQUESTS)


def publish_variant(
    platform: Platform, model: str, variant: str, artifact: str, stages: Stages
) -> dict[str, Any]:
    """Publish the gated variant, or find the release that it is already. Returns its record."""
    catalog = platform.catalog(model)
    passed = passed_gate(catalog, model, artifact, variant)
    serve = load_model_config(platform.workspace, model).serve_digest
    identity = (passed.variant_digest, passed.report_digest, serve)
    published = catalog.release_of(*identity)
    if published is not None:
        return {**published.body, "created": False}
    release = catalog.reserved_release(*identity)
    body: dict[str, Any] = {
        "variant_digest": passed.variant_digest,
        "artifact": passed.artifact,
        "variant": passed.variant,
        "report_digest": passed.report_digest,
        "serve": serve,
    }
    if passed.reference:
        body["reference"] = passed.reference
    with stages.stage("publish", "Publishing to the Triton repository"):
        if release is None:
            release = catalog.next_release
            platform.append(model, "release-reserved", body | {"release": release})
        written = write_release(str(platform.workspace.root), model, release, body)
        record = catalog.variant_by_digest(passed.variant_digest)
        body |= {"release": release, "format": record.format, "precision": record.precision}
        written[ATTESTATION] = attest_release(platform, model, body | written)
        platform.append(model, "release-published", body | written)
    return body | written | {"created": True}


def passed_gate(catalog: Catalog, model: str, artifact: str, variant: str) -> GateRecord:
    """The newest gate of the variant, which must be a Pass; without `variant`, the smallest passed.

    Raises UserError when nothing passed.
    """
    digest = chosen_artifact(catalog, model, artifact)
    if variant:
        record = chosen_variant(catalog, model, digest, variant)
        newest = catalog.newest_gate(record.digest)
        if newest is None or newest.verdict != "pass":
            state = "was never gated" if newest is None else f"has the verdict {newest.verdict}"
            raise UserError(
                f"variant {variant!r} of artifact {digest[:12]} {state}: it gets no release",
                where=model,
                remedy=f"run `sluice gate {model} --variant {variant}`",
            )
        return newest
    passed = catalog.passed_gates(digest)
    if not passed:
        raise UserError(
            f"no variant of artifact {digest[:12]} has passed its gate",
            where=model,
            remedy=f"run `sluice gate {model} --variant VARIANT`",
        )
    return min(passed, key=lambda gate: catalog.variant_by_digest(gate.variant_digest).bytes)


@flow(name="publish", flow_run_name="publish-{model}")
def publish(
    workspace: str, model: str, variant: str = "", artifact: str = "", actor: str = ""
) -> dict[str, Any]:
    """Give the winning variant a release number. Returns the release's record."""
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    platform.permit(model, "release-published")
    record = publish_variant(platform, model, variant, artifact, stages)
    return record | {"stages": stages.seconds}
