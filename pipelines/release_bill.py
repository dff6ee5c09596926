"""What a release is made of, as a CycloneDX ML-BOM: files, origin, tools, libraries, and quality.

Everything comes from signed or hashed records: the release's manifest, its variant's description
and the gate's report. A bill that does not match them is not made.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType, Pedigree
from packageurl import PackageURL

from infra.bill_of_materials import components, lock_properties, to_json
from infra.environments.locks import CONVERTERS, SERVING
from model_repository.layout import RELEASE, VARIANT, ReleaseLayout
from model_repository.publishing import verify_release
from pipelines.conversion.kinds import kind_of
from registry.errors import IntegrityError
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.catalog import ReleaseRecord
    from registry.manifest import Manifest

DESCRIPTION = "variant.json"
_TASKS = {"speech": "automatic-speech-recognition", "translation": "translation"}


def release_bill(platform: Platform, model: str, release: int) -> str:
    """The bill of one published release, as JSON text.

    Every file is hashed on the way. Raises UserError for a release that was never published, and
    IntegrityError when its files or records are not those that were signed.
    """
    places = platform.workspace
    record = platform.catalog(model).require_release(model, release)
    key = VerifyingKey.load(places.keys)
    manifest = verify_release(places.repository, places.releases, model, release, key)
    if manifest.digest != record.manifest_digest:
        raise IntegrityError("the signed manifest is not the journal's", where=f"{model} {release}")
    folder = ReleaseLayout(places.repository, model, release).folder
    described = json.loads((folder / RELEASE).read_bytes())
    made = json.loads((folder / VARIANT / DESCRIPTION).read_bytes())
    report = json.loads(_report(places.reports, record.report_digest))
    environment = CONVERTERS[kind_of(described["kind"]).environment]
    subject = Component(
        name=model,
        version=str(release),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"{model}/{release}",
        hashes=[_sha256(manifest.digest)],
        pedigree=Pedigree(ancestors=_ancestors(model, record)),
        properties=_properties(record, described, made),
    )
    serving = components([SERVING])
    tools = [_tool(*tool) for tool in sorted(made["tools"].items())]
    bom = Bom(components=[*_files(manifest), *tools, *serving])
    subject.properties.update(lock_properties([environment, SERVING]))
    bom.metadata.component = subject
    bom.register_dependency(subject, bom.components)
    return to_json(bom, modelCard=_model_card(described, made, report))


def _report(reports: Path, digest: str) -> bytes:
    """The gate's report. Raises IntegrityError when it is gone or another one."""
    path = reports / digest / "report.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError("the gate's report is gone", where=str(path)) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise IntegrityError("is not the report that was recorded", where=str(path))
    return content


def _ancestors(model: str, record: ReleaseRecord) -> list[Component]:
    """The artifact that was registered, and the variant that was made of it."""
    return [
        Component(
            name=f"{model} {name}",
            version=digest[:12],
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"{name}/{digest}",
            hashes=[_sha256(digest)],
        )
        for name, digest in (
            ("artifact", record.artifact),
            (f"variant {record.variant}", record.variant_digest),
        )
    ]


def _files(manifest: Manifest) -> list[Component]:
    return [
        Component(
            name=file.path,
            type=ComponentType.FILE,
            bom_ref=f"file/{file.path}",
            hashes=[_sha256(file.sha256)],
        )
        for file in manifest.files
    ]


def _tool(name: str, release: str) -> Component:
    """What the conversion was done with; its bytes are the converter lock's."""
    return Component(
        name=name,
        version=release,
        type=ComponentType.APPLICATION,
        bom_ref=f"conversion/{name}@{release}",
        purl=PackageURL("pypi" if name != "python" else "generic", name=name, version=release),
        properties=[Property(name="sluice:role", value="conversion")],
    )


def _properties(
    record: ReleaseRecord, described: dict[str, Any], made: dict[str, Any]
) -> list[Property]:
    recipe = described["recipe"]
    named = {
        "kind": described["kind"],
        "variant": record.variant,
        "format": recipe["format"],
        "precision": recipe["precision"],
        "recipe": json.dumps(recipe["parameters"], sort_keys=True),
        "serve": json.dumps(described["serve"], sort_keys=True),
        "program:sha256": described["program"],
        "report:sha256": record.report_digest,
        "calibration:sha256": (made["calibration"] or {}).get("sha256", ""),
    }
    return [Property(name=f"sluice:{name}", value=value) for name, value in named.items() if value]


def _model_card(
    described: dict[str, Any], made: dict[str, Any], report: dict[str, Any]
) -> dict[str, Any]:
    """CycloneDX's model card: data and measured quality (the schema's own words)."""
    kind = kind_of(described["kind"])
    provenance = report["provenance"]
    sets = [("evaluation", provenance["dataset_sha256"])]
    if made["calibration"]:
        sets.append(("calibration", made["calibration"]["sha256"]))
    return {
        "modelParameters": {
            "task": _TASKS.get(kind.dataset, kind.dataset),
            "datasets": [
                {
                    "type": "dataset",
                    "name": f"{name} set",
                    "contents": {
                        "properties": [{"name": "sluice:dataset:sha256", "value": digest}]
                    },
                }
                for name, digest in sets
            ],
            "inputs": [{"format": kind.interface.question.name}],
            "outputs": [{"format": kind.interface.answer.name}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {"type": name.partition(".")[0], "value": str(value), **_slice(name)}
                for name, value in sorted(report["metrics"].items())
            ]
        },
    }


def _slice(name: str) -> dict[str, str]:
    part = name.partition(".")[2]
    return {"slice": part} if part else {}


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
