"""Puts a release into Triton's repository: whole, signed, and never changed afterwards.

The order is parts, version folder, configurations, signed record. A server that starts in between
finds no configuration, and admission finds no record, so half a release is served to nobody;
publishing again completes it. It never talks to a running server.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.building import build_release, program_digest
from model_repository.config import Batching
from model_repository.layout import ReleaseLayout
from registry.errors import IntegrityError, UserError
from registry.files import (
    canonical_json,
    disk_error,
    fsync_folder,
    fsync_tree,
    make_folder,
    write_atomic,
)
from registry.manifest import FileEntry, Manifest, hash_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model_repository.golden import GoldenSet
    from registry.hash_memory import HashMemory
    from registry.signature import SigningKey, VerifyingKey
    from registry.workspace import Workspace

__all__ = ["Batching", "PublishedRelease", "build_private", "program_digest", "publish"]
__all__ += ["verify_release"]


@dataclass(frozen=True)
class PublishedRelease:
    """A release on disk. The manifest's paths are relative to the repository."""

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
    memory: HashMemory | None = None,
) -> PublishedRelease:
    """Write release `release` of `model`, or find that it is there with the same bytes.

    `provenance` names what the release comes from (artifact, variant and report digests); it is
    part of the release. With a `memory`, the release is read back from where it serves, so that
    admission knows its hashes. Raises UserError when the number is taken by other bytes,
    PermanentEngineError when the disk refuses, IntegrityError when what is read back is not what
    was signed; nothing half-written is visible then.
    """
    layout = ReleaseLayout(places.repository, model, release)

    def build(root: Path) -> Manifest:
        build_release(
            root,
            model,
            release,
            kind=kind,
            variant_folder=variant_folder,
            golden=golden,
            batching=batching,
            provenance=provenance,
        )
        return Manifest.of_folder(root)

    manifest = _place(places, layout, build)
    record = {"model": model, "release": release, "kind": kind, "provenance": dict(provenance)}
    signed = record | {"manifest": manifest.to_dict()}
    signature = signing_key.sign(canonical_json(signed))
    content = canonical_json({"record": signed, "signature": signature}) + b"\n"
    write_atomic(layout.record(places.releases), content)
    if memory is not None:
        check_files(layout, manifest, memory)
    return PublishedRelease(layout, manifest, signature)


def verify_release(
    repository: Path,
    releases: Path,
    model: str,
    release: int,
    verifying_key: VerifyingKey,
    memory: HashMemory | None = None,
) -> Manifest:
    """The signed manifest, once every byte of the release matches it.

    Files that `memory` knows are not read again. Raises IntegrityError that says what is missing,
    extra, changed, or not signed by this key.
    """
    layout = ReleaseLayout(repository, model, release)
    manifest = read_record(layout, releases, verifying_key)
    check_files(layout, manifest, memory)
    return manifest


def read_record(layout: ReleaseLayout, releases: Path, verifying_key: VerifyingKey) -> Manifest:
    """The release's manifest, as signed by this key. Raises IntegrityError when there is none."""
    path = layout.record(releases)
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        signed, signature = content["record"], str(content["signature"])
        payload = canonical_json(signed)
        identity = (signed["model"], signed["release"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError("there is no signed record", where=str(path)) from error
    verifying_key.verify(payload, signature)
    if identity != (layout.model, layout.release):
        raise IntegrityError(
            f"the record is of {identity[0]} release {identity[1]}", where=str(path)
        )
    return Manifest.from_json(canonical_json(signed["manifest"]))


def check_files(
    layout: ReleaseLayout, manifest: Manifest, memory: HashMemory | None = None
) -> None:
    """Raise IntegrityError unless what lies in the repository is `manifest`, file by file."""
    try:
        found = _found(layout, memory)
    except UserError as error:
        raise IntegrityError(error.what, where=error.where) from error
    finally:
        if memory is not None:
            memory.save()
    manifest.verify(found, str(layout.folder.parent))


def build_private(
    folder: Path, variant_folder: Path, model: str, *, kind: str, batching: Batching
) -> Path:
    """A repository for one caller in the new `folder`: the variant as release 1, unsigned.

    What a gate scores has the same files and configuration as what will serve, golden requests
    aside. Returns `folder`. Raises PermanentEngineError when the disk refuses.
    """
    try:
        folder.mkdir(parents=True)
        build_release(
            folder,
            model,
            1,
            kind=kind,
            variant_folder=variant_folder,
            golden=None,
            batching=batching,
            provenance={},
        )
    except OSError as error:
        raise disk_error(folder, error) from error
    return folder


def _place(places: Workspace, layout: ReleaseLayout, build: Callable[[Path], Manifest]) -> Manifest:
    """Build the release beside the repository, then move in what is not there yet.

    Raises UserError when something else is there.
    """
    try:
        places.staging.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix="release.", dir=places.staging))
        try:
            manifest = build(staged)
            built = ReleaseLayout(staged, layout.model, layout.release)
            if layout.folder.exists() and _differs(layout, manifest):
                raise _taken(layout)
            for one in built.whole:
                _move_in(one, replace(layout, part=one.part))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise disk_error(places.staging, error) from error
    return manifest


def _differs(layout: ReleaseLayout, manifest: Manifest) -> bool:
    """Whether anything of the release that is on disk is not what the manifest says."""
    expected = {file.path: file for file in manifest.files}
    return any(expected.get(file.path) != file for file in _found(layout).files)


def _move_in(built: ReleaseLayout, target: ReleaseLayout) -> None:
    if not target.folder.exists():
        fsync_tree(built.folder)
        make_folder(target.folder.parent)
        built.folder.rename(target.folder)
        fsync_folder(target.folder.parent)
    write_atomic(target.config, built.config.read_bytes(), mode=0o444)


def _found(layout: ReleaseLayout, memory: HashMemory | None = None) -> Manifest:
    """The manifest of a release as it is on disk: version folders and configurations."""
    entries: list[FileEntry] = []
    for one in layout.whole:
        below = one.folder.relative_to(layout.repository).as_posix()
        entries += [
            FileEntry(f"{below}/{file.path}", file.size, file.sha256)
            for file in Manifest.of_folder(one.folder, memory=memory).files
        ]
        if one.config.exists():
            path = one.config.relative_to(layout.repository).as_posix()
            entries.append(hash_file(layout.repository, path, memory=memory))
    return Manifest.of_entries(entries)


def _taken(layout: ReleaseLayout) -> UserError:
    return UserError(
        f"release {layout.release} is published already, with other bytes",
        where=str(layout.folder),
        remedy="publish under the next number; a release never changes",
    )
