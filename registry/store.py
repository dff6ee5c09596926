"""The content-addressed store: blobs by their SHA-256, manifests by their digest.

A manifest is written after all its blobs, so what has a manifest is whole. Blobs are read-only and
are hashed again on the way out: nothing that changed on disk is ever handed to a caller.
"""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from registry.errors import IntegrityError, UserError
from registry.files import disk_error, fsync_folder, make_folder, staged_folder, write_atomic
from registry.manifest import CHUNK, FileEntry, Manifest, is_digest, list_files, open_plain
from registry.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO


class ContentStore:
    """Folders of files, kept by content below `root`."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._manifests = root / "manifests"
        self._staging = root / "staging"

    def add(self, folder: Path) -> Manifest:
        """Hash and copy `folder` in one pass. The same content again replaces damaged copies.

        Raises UserError for what a manifest refuses, PermanentEngineError when the disk is full;
        then the store is as it was.
        """
        names = list_files(folder)
        try:
            with scratch_folder(self._staging) as staged, _threads() as pool:
                entries = list(
                    pool.map(
                        lambda numbered: _stage(folder / numbered[1], staged / str(numbered[0])),
                        enumerate(names),
                    )
                )
                files = [
                    FileEntry(name, *entry) for name, entry in zip(names, entries, strict=True)
                ]
                for number, file in enumerate(files):
                    self._keep(staged / str(number), file.sha256)
                for parent in {self._blob_path(file.sha256).parent for file in files}:
                    fsync_folder(parent)
        except OSError as error:
            raise disk_error(self._blobs, error) from error
        manifest = Manifest.of_entries(files)
        if not self.has(manifest.digest):
            write_atomic(self._manifest_path(manifest.digest), manifest.to_json(), mode=0o444)
        return manifest

    def has(self, digest: str) -> bool:
        """Whether a manifest with this digest and all its blobs are there."""
        try:
            manifest = self.manifest(digest)
        except (IntegrityError, UserError):
            return False
        # For a folder that is closed to us, pathlib raises.
        return all(os.path.isfile(self._blob_path(file.sha256)) for file in manifest.files)  # noqa: PTH113

    def manifest(self, digest: str) -> Manifest:
        """The manifest. Raises IntegrityError when it is missing or changed."""
        try:
            content = self._manifest_path(digest).read_bytes()
        except OSError as error:
            raise IntegrityError(f"the store has no {digest[:12]}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise IntegrityError(f"the manifest of {digest[:12]} was changed on disk")
        return Manifest.from_json(content)

    def digests(self) -> tuple[str, ...]:
        """Digests of all manifests, sorted."""
        return tuple(sorted(path.stem for path in self._manifests.glob("*/*.json")))

    def checkout(self, digest: str, target: Path) -> Manifest:
        """Copy a folder out to `target`, which must not exist; hashed while it is copied.

        Raises IntegrityError when a blob is missing or changed; then `target` does not exist.
        """
        manifest = self.manifest(digest)
        if os.path.lexists(target):
            raise UserError("is there already", where=str(target))
        with staged_folder(target.parent, target) as staged:
            for file in manifest.files:
                path = staged / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    self._copy_out(file, out)
        return manifest

    def read(self, digest: str, name: str) -> bytes:
        """One file of a folder, hashed as it is read. Raises IntegrityError as `checkout` does."""
        entries = {file.path: file for file in self.manifest(digest).files}
        if name not in entries:
            raise IntegrityError(
                f"folder {digest[:12]} holds no {name}", where=str(self._manifest_path(digest))
            )
        content = io.BytesIO()
        self._copy_out(entries[name], content)
        return content.getvalue()

    def verify(self, digest: str) -> None:
        """Hash every blob of a manifest. Raises IntegrityError naming the first that changed."""
        for file in self.manifest(digest).files:
            self._copy_out(file, None)

    def _keep(self, staged: Path, sha256: str) -> None:
        """Name a staged blob; one that is there already may be damaged, this one is good."""
        blob = self._blob_path(sha256)
        make_folder(blob.parent)
        staged.replace(blob)

    def _copy_out(self, file: FileEntry, out: BinaryIO | None) -> None:
        blob = self._blob_path(file.sha256)
        hasher = hashlib.sha256()
        for chunk in _chunks_of_blob(blob, file.path):
            hasher.update(chunk)
            if out is not None:
                out.write(chunk)
        if hasher.hexdigest() != file.sha256:
            raise _damaged(blob, f"the bytes of {file.path} were changed on disk")

    def _blob_path(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256

    def _manifest_path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise UserError(f"{digest!r} is not a digest", remedy="it has 64 hex digits")
        return self._manifests / digest[:2] / f"{digest}.json"


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1)


def _stage(source: Path, staged: Path) -> tuple[int, str]:
    """Copy one file, durably and read-only; size and SHA-256 of what was copied."""
    hasher, size = hashlib.sha256(), 0
    with staged.open("xb") as out:
        for chunk in _chunks_of_source(source):
            hasher.update(chunk)
            out.write(chunk)
            size += len(chunk)
        out.flush()
        os.fchmod(out.fileno(), 0o444)
        os.fsync(out.fileno())
    return size, hasher.hexdigest()


def _chunks_of_source(path: Path) -> Iterator[bytes]:
    try:
        with open_plain(path) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _chunks_of_blob(blob: Path, name: str) -> Iterator[bytes]:
    try:
        with blob.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise _damaged(blob, f"the bytes of {name} are gone") from error
    except OSError as error:
        raise _damaged(blob, f"the bytes of {name} cannot be read: {error.strerror}") from error


def _damaged(blob: Path, what: str) -> IntegrityError:
    remedy = "register or convert it again: a good copy replaces it"
    return IntegrityError(what, where=str(blob), remedy=remedy)
