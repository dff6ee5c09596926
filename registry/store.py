"""The content-addressed store: blobs by their SHA-256, manifests by their digest.

A manifest is written after all its blobs, so what has a manifest is whole. Blobs are read-only and
are hashed again on the way out: nothing that changed on disk is ever handed to a caller.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING

from registry.errors import IntegrityError, UserError
from registry.files import disk_error, fsync_folder, make_folder, staged_folder, write_atomic
from registry.hashing import SinkError, hash_plain, in_threads
from registry.manifest import FileEntry, Manifest, is_digest, list_files, size_of
from registry.partial import partial_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.hashing import Hashed, OnBytes, Sink
    from registry.partial import PartialCopy


class ContentStore:
    """Folders of files, kept by content below `root`."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._manifests = root / "manifests"
        self._staging = root / "staging"

    def add(self, folder: Path, on_bytes: Callable[[int], None] | None = None) -> Manifest:
        """Hash and copy `folder` in one pass. The same content again replaces damaged copies.

        `on_bytes` hears of each block's size. One that was killed is gone on with by the next of
        the same folder: large files that were copied and did not change are not copied again.
        Raises UserError for what a manifest refuses, PermanentEngineError when the disk is full;
        then the store is as it was.
        """
        names = list_files(folder)
        try:
            with partial_copy(self._staging, folder) as copies:
                files = in_threads(
                    lambda name, heard: _stage(folder, name, copies, heard),
                    names,
                    size=lambda name: size_of(folder / name),
                    on_bytes=on_bytes,
                )
                for file in files:
                    self._keep(copies.place(file.path), file.sha256)
                for parent in {self.blob_path(file.sha256).parent for file in files}:
                    fsync_folder(parent)
        except OSError as error:
            raise disk_error(self._blobs, error) from error
        manifest = Manifest.of_entries(files)
        if not self._is_here(manifest.digest):
            self.keep_manifest(manifest)
        return manifest

    def keep_manifest(self, manifest: Manifest) -> None:
        """Write a manifest whose blobs are there, over a damaged one too."""
        write_atomic(self.manifest_path(manifest.digest), manifest.to_json(), mode=0o444)

    def restore(self, sha256: str, source: Path) -> bool:
        """Make `source` the blob `sha256`; False, and nothing is changed, when it is other bytes.

        Raises PermanentEngineError when the disk refuses.
        """
        return restore_file(source, sha256, self.blob_path(sha256), mode=0o444)

    def has(self, digest: str) -> bool:
        """Whether a manifest with this digest and all its blobs are there."""
        return self._is_here(digest)

    def _is_here(self, digest: str) -> bool:
        try:
            manifest = self._read_manifest(digest)
        except (IntegrityError, UserError):
            return False
        # For a folder that is closed to us, pathlib raises.
        return all(os.path.isfile(self.blob_path(file.sha256)) for file in manifest.files)  # noqa: PTH113

    def manifest(self, digest: str) -> Manifest:
        """The manifest. Raises IntegrityError when it is missing or changed."""
        return self._read_manifest(digest)

    def _read_manifest(self, digest: str) -> Manifest:
        try:
            content = self.manifest_path(digest).read_bytes()
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
                f"folder {digest[:12]} holds no {name}", where=str(self.manifest_path(digest))
            )
        content = io.BytesIO()
        self._copy_out(entries[name], content)
        return content.getvalue()

    def blob_path(self, sha256: str) -> Path:
        """Where the blob with this hash lies, there or not."""
        return self._blobs / sha256[:2] / sha256

    def manifest_path(self, digest: str) -> Path:
        """Where the manifest lies, there or not. Raises UserError for what is no digest."""
        if not is_digest(digest):
            raise UserError(f"{digest!r} is not a digest", remedy="it has 64 hex digits")
        return self._manifests / digest[:2] / f"{digest}.json"

    def verify(self, digest: str) -> None:
        """Hash every blob of a manifest. Raises IntegrityError naming the first that changed."""
        for file in self.manifest(digest).files:
            self._copy_out(file, None)

    def _keep(self, staged: Path, sha256: str) -> None:
        """Name a staged blob; one that is there already may be damaged, this one is good."""
        blob = self.blob_path(sha256)
        make_folder(blob.parent)
        staged.replace(blob)

    def _copy_out(self, file: FileEntry, out: Sink | None) -> None:
        blob = self.blob_path(file.sha256)
        try:
            found = hash_plain(blob, into=out)
        except UserError as error:
            raise _damaged(
                blob, f"the bytes of {file.path} cannot be read: {error.what}"
            ) from error
        except SinkError:
            raise
        except FileNotFoundError as error:
            raise _damaged(blob, f"the bytes of {file.path} are gone") from error
        except OSError as error:
            reason = f"the bytes of {file.path} cannot be read: {error.strerror}"
            raise _damaged(blob, reason) from error
        if found.sha256 != file.sha256:
            raise _damaged(blob, f"the bytes of {file.path} were changed on disk")


def restore_file(source: Path, sha256: str, target: Path, *, mode: int) -> bool:
    """Put a durable copy of `source` in the place of `target` if its hash is `sha256`; whether.

    Raises PermanentEngineError when the disk refuses; then `target` is as it was.
    """
    try:
        make_folder(target.parent)
        staged = target.with_name(f".{target.name}.restored")
        staged.unlink(missing_ok=True)
        try:
            if _copy(source, staged, ignore, mode=mode).sha256 != sha256:
                return False
            staged.replace(target)
            fsync_folder(target.parent)
        finally:
            staged.unlink(missing_ok=True)
    except UserError:
        return False
    except OSError as error:
        raise disk_error(target, error) from error
    return True


def ignore(count: int) -> None:
    """An `on_bytes` for whoever does not listen."""


def _stage(folder: Path, name: str, copies: PartialCopy, heard: OnBytes) -> FileEntry:
    """Copy one file, durably and read-only; unless that was done before."""
    source, staged = folder / name, copies.place(name)
    try:
        before = copies.find(name, source.lstat(), heard)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(source)) from error
    if before is not None:
        return FileEntry(name, *before)
    staged.unlink(missing_ok=True)
    found = _copy(source, staged, heard, mode=0o444)
    copies.note(name, found)
    return FileEntry(name, found.size, found.sha256)


def _copy(source: Path, staged: Path, heard: OnBytes, *, mode: int) -> Hashed:
    """A durable copy. Raises UserError when the source cannot be read, OSError for the copy."""
    with staged.open("xb") as out:
        try:
            found = hash_plain(source, heard, into=out)
        except SinkError:
            raise
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(source)) from error
        out.flush()
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    return found


def _damaged(blob: Path, what: str) -> IntegrityError:
    remedy = "register or convert it again: a good copy replaces it"
    return IntegrityError(what, where=str(blob), remedy=remedy)
