"""Puts a release into Triton's repository: whole, signed, and never changed afterwards.

The order is version folder, configuration, signed record. A server that starts in between finds
no configuration, and admission finds no record, so half a release is served to nobody; publishing
again completes it. It never talks to a running server.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.building import build_release, program_digest, release_config
from model_repository.config import Batching
from model_repository.layout import ReleaseLayout
from registry.errors import IntegrityError, UserError
from registry.files import canonical_json, disk_error, staged_folder, write_atomic
from registry.manifest import FileEntry, Manifest, hash_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_repository.golden import GoldenSet
    from registry.signature import SigningKey, VerifyingKey
    from registry.workspace import Workspace

__all__ = ["Batching", "PublishedRelease", "build_private", "program_digest", "publish"]
__all__ += ["verify_release"]


@dataclass(frozen=True)
class PublishedRelease:
    """A release on disk. The manifest's paths are relative to the model's folder."""

    layout: ReleaseLayout
    manifest: Manifest
    signature: str


def publish(  # noqa: PLR0913 - each is named by its caller
    places: Workspace,
    model: str,
    release: int,
    *,
    kind: str,
    variant_folder: Path,
    golden: GoldenSet,
    batching: Batching,
    provenance: Mapping[str, str],
    signing_key: SigningKey,
) -> PublishedRelease:
    """Write release `release` of `model`, or find that it is there with the same bytes.

    `provenance` names what the release comes from (artifact, variant and report digests); it is
    part of the release. Raises UserError when the number is taken by other bytes, and
    PermanentEngineError when the disk refuses; then nothing half-written is visible.
    """
    layout = ReleaseLayout(places.repository, model, release)
    config = release_config(model, release, variant_folder, batching)

    def build(folder: Path) -> Manifest:
        build_release(
            folder,
            model,
            release,
            kind=kind,
            variant_folder=variant_folder,
            golden=golden,
            provenance=provenance,
        )
        return Manifest.of_folder(folder)

    files = _place(places, layout, build)
    if layout.config.exists() and layout.config.read_text() != config:
        raise _taken(layout)
    write_atomic(layout.config, config.encode(), mode=0o444)
    manifest = _whole(layout, files)
    record = {"model": model, "release": release, "kind": kind, "provenance": dict(provenance)}
    signed = record | {"manifest": manifest.to_dict()}
    signature = signing_key.sign(canonical_json(signed))
    content = canonical_json({"record": signed, "signature": signature}) + b"\n"
    write_atomic(layout.record(places.releases), content)
    return PublishedRelease(layout, manifest, signature)


def verify_release(
    repository: Path, releases: Path, model: str, release: int, verifying_key: VerifyingKey
) -> Manifest:
    """The signed manifest, once every byte of the release matches it.

    Raises IntegrityError that says what is missing, extra, changed, or not signed by this key.
    """
    layout = ReleaseLayout(repository, model, release)
    path = layout.record(releases)
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        signed, signature = content["record"], str(content["signature"])
        payload = canonical_json(signed)
        identity = (signed["model"], signed["release"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError("there is no signed record", where=str(path)) from error
    verifying_key.verify(payload, signature)
    if identity != (model, release):
        raise IntegrityError(
            f"the record is of {identity[0]} release {identity[1]}", where=str(path)
        )
    manifest = Manifest.from_json(canonical_json(signed["manifest"]))
    try:
        found = _whole(layout, Manifest.of_folder(layout.folder))
    except UserError as error:
        raise IntegrityError(error.what, where=error.where) from error
    manifest.verify(found, str(layout.folder.parent))
    return manifest


def build_private(
    folder: Path, variant_folder: Path, model: str, *, kind: str, batching: Batching
) -> Path:
    """A repository for one caller in the new `folder`: the variant as release 1, unsigned.

    What a gate scores has the same files and configuration as what will serve, golden requests
    aside. Returns `folder`. Raises PermanentEngineError when the disk refuses.
    """
    layout = ReleaseLayout(folder, model, 1)
    config = release_config(model, 1, variant_folder, batching)
    try:
        layout.folder.mkdir(parents=True)
        build_release(
            layout.folder,
            model,
            1,
            kind=kind,
            variant_folder=variant_folder,
            golden=None,
            provenance={},
        )
    except OSError as error:
        raise disk_error(folder, error) from error
    write_atomic(layout.config, config.encode())
    return folder


def _place(places: Workspace, layout: ReleaseLayout, build: Any) -> Manifest:
    """Build the version folder where it belongs, or compare a new one with what is there."""
    if not layout.folder.exists():
        with staged_folder(places.staging, layout.folder) as staged:
            files: Manifest = build(staged)
        return files
    try:
        places.staging.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="compare.", dir=places.staging))
        try:
            expected: Manifest = build(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise disk_error(places.staging, error) from error
    try:
        expected.verify_folder(layout.folder)
    except IntegrityError as error:
        raise _taken(layout) from error
    return expected


def _whole(layout: ReleaseLayout, files: Manifest) -> Manifest:
    """The manifest of a release: its version folder and its configuration."""
    version = [
        FileEntry(f"{layout.release}/{file.path}", file.size, file.sha256) for file in files.files
    ]
    config = hash_file(layout.folder.parent, layout.config_path)
    return Manifest.of_entries([*version, config])


def _taken(layout: ReleaseLayout) -> UserError:
    return UserError(
        f"release {layout.release} is published already, with other bytes",
        where=str(layout.folder),
        remedy="publish under the next number; a release never changes",
    )
