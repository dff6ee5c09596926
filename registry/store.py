"""The content-addressed store: blobs by their SHA-256, manifests by their digest.

A manifest is written after all its blobs, so what has a manifest is whole. Blobs are read-only and
are hashed again on the way out: nothing that changed on disk is ever handed to a caller.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.files import disk_error, fsync_folder, fsync_tree, write_atomic
from registry.manifest import CHUNK, FileEntry, Manifest, list_files

if TYPE_CHECKING:
    from collections.abc import Iterator


class ContentStore:
    """Folders of files, kept by content below `root`."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._manifests = root / "manifests"
        self._staging = root / "staging"

    def add(self, folder: Path) -> Manifest:
        """Hash and copy `folder` in one pass. The same content again changes nothing.

        Raises UserError for what a manifest refuses, PermanentEngineError when the disk is full;
        then the store is as it was.
        """
        names = list_files(folder)
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            staged = Path(tempfile.mkdtemp(dir=self._staging))
        except OSError as error:
            raise disk_error(self._staging, error) from error
        try:
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                entries = list(pool.map(lambda name: self._add_file(folder, name, staged), names))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        manifest = Manifest.of_entries(entries)
        if not self.has(manifest.digest):
            write_atomic(self._manifest_path(manifest.digest), manifest.to_json(), mode=0o444)
        return manifest

    def has(self, digest: str) -> bool:
        """Whether a manifest with this digest and all its blobs are there."""
        try:
            manifest = self.manifest(digest)
        except IntegrityError:
            return False
        return all(self._blob_path(file.sha256).is_file() for file in manifest.files)

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
        if target.exists():
            raise UserError("is there already", where=str(target))
        try:
            for file in manifest.files:
                self._copy_out(file, target / file.path)
            fsync_tree(target)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise disk_error(target, error) from error
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return manifest

    @contextmanager
    def checked_out(self, digest: str, work: Path) -> Iterator[Path]:
        """A copy of the folder below `work`, removed when the block ends."""
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work) as folder:
            target = Path(folder) / "files"
            self.checkout(digest, target)
            yield target

    def verify(self, digest: str) -> None:
        """Hash every blob of a manifest. Raises IntegrityError naming the first that changed."""
        for file in self.manifest(digest).files:
            self._copy_out(file, None)

    def _add_file(self, folder: Path, name: str, staged: Path) -> FileEntry:
        handle, temporary = tempfile.mkstemp(dir=staged)
        hasher, size = hashlib.sha256(), 0
        try:
            with os.fdopen(handle, "wb") as out, _open_plain(folder / name) as source:
                while chunk := source.read(CHUNK):
                    hasher.update(chunk)
                    out.write(chunk)
                    size += len(chunk)
                out.flush()
                os.fchmod(out.fileno(), 0o444)
                os.fsync(out.fileno())
            entry = FileEntry(name, size, hasher.hexdigest())
            blob = self._blob_path(entry.sha256)
            # A blob that is there already may have been damaged: the new copy is known to be good.
            blob.parent.mkdir(parents=True, exist_ok=True)
            Path(temporary).replace(blob)
            fsync_folder(blob.parent)
        except OSError as error:
            raise disk_error(folder / name, error) from error
        return entry

    def _copy_out(self, file: FileEntry, target: Path | None) -> None:
        blob = self._blob_path(file.sha256)
        hasher = hashlib.sha256()
        if not blob.is_file():
            raise IntegrityError(f"the bytes of {file.path} are gone", where=str(blob))
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        with blob.open("rb") as source, Path(target or os.devnull).open("wb") as out:
            while chunk := source.read(CHUNK):
                hasher.update(chunk)
                out.write(chunk)
        if hasher.hexdigest() != file.sha256:
            raise IntegrityError(
                f"the bytes of {file.path} were changed on disk",
                where=str(blob),
                remedy="register or convert it again: a good copy replaces it",
            )

    def _blob_path(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256

    def _manifest_path(self, digest: str) -> Path:
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise PermanentEngineError(f"{digest!r} is not a digest")
        return self._manifests / digest[:2] / f"{digest}.json"


@contextmanager
def _open_plain(path: Path) -> Iterator[_Readable]:
    """Open for reading without following a link that appeared since the folder was listed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


if TYPE_CHECKING:
    from io import FileIO as _Readable
