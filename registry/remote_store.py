"""The content store with a bucket behind it; the local folder is its cache.

What is added goes to both: blobs first, the manifest last, so what has a manifest in the bucket is
whole there. What is not here is fetched and hashed on its way; bytes that are not the recorded ones
never get a name. Doing it again moves only what is missing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blob_places import reached
from registry.errors import IntegrityError
from registry.files import disk_error, fsync_folder, make_folder, write_atomic
from registry.hashing import in_threads
from registry.store import ContentStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry.blob_places import BlobPlace
    from registry.hashing import OnBytes, Sink
    from registry.manifest import FileEntry, Manifest

_LARGEST_MANIFEST = 64 << 20


class RemoteStore(ContentStore):
    """Folders of files, kept by content in `place`, and below `root` as far as they were used.

    Besides what `ContentStore` raises: RetryableEngineError when the place does not answer.
    """

    def __init__(self, root: Path, place: BlobPlace) -> None:
        super().__init__(root)
        self._root = root
        self._place = place

    def add(self, folder: Path, on_bytes: Callable[[int], None] | None = None) -> Manifest:
        """As `ContentStore.add`, and then into the place what is not there yet."""
        manifest = super().add(folder, on_bytes)
        self.push(manifest)
        return manifest

    def push(self, manifest: Manifest) -> None:
        """Bring a manifest whose blobs are here, with all of them, to the place."""
        files = list({file.sha256: file for file in manifest.files}.values())
        with reached(self._place):
            in_threads(self._push_blob, files, size=lambda file: file.size)
            target = self._below(self.manifest_path(manifest.digest))
            if self._place.size(target) is None:
                self._place.put(self.manifest_path(manifest.digest), target)

    def has(self, digest: str) -> bool:
        """Whether the manifest with all its blobs is here, or in the place."""
        if self._is_here(digest):
            return True
        with reached(self._place):
            return self._place.size(self._below(self.manifest_path(digest))) is not None

    def manifest(self, digest: str) -> Manifest:
        """The manifest, fetched where it is not here. Raises as `ContentStore.manifest`."""
        path = self.manifest_path(digest)
        if not path.exists():
            content = self._fetch_manifest(digest, self._below(path))
            if content is not None:
                write_atomic(path, content, mode=0o444)
        return self._read_manifest(digest)

    def _fetch_manifest(self, digest: str, path: str) -> bytes | None:
        with reached(self._place):
            size = self._place.size(path)
            if size is None:
                return None
            content = b"".join(self._place.blocks(path)) if size <= _LARGEST_MANIFEST else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise self._other(path, f"the manifest of {digest[:12]}")
        return content

    def _push_blob(self, file: FileEntry, heard: OnBytes) -> None:
        heard(0)
        target = self._below(self.blob_path(file.sha256))
        if self._place.size(target) != file.size:
            self._place.put(self.blob_path(file.sha256), target)

    def _copy_out(self, file: FileEntry, out: Sink | None) -> None:
        if not self.blob_path(file.sha256).exists():
            self._fetch_blob(file)
        super()._copy_out(file, out)

    def _fetch_blob(self, file: FileEntry) -> None:
        """Bring one blob here. Raises IntegrityError when it is gone or not the recorded bytes."""
        blob = self.blob_path(file.sha256)
        path, hasher = self._below(blob), hashlib.sha256()
        try:
            make_folder(blob.parent)
            handle, name = tempfile.mkstemp(prefix=".fetched.", dir=blob.parent)
        except OSError as error:
            raise disk_error(blob, error) from error
        staged = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                for block in self._blocks(file, path):
                    hasher.update(block)
                    out.write(block)
                out.flush()
                os.fchmod(out.fileno(), 0o444)
                os.fsync(out.fileno())
            if hasher.hexdigest() != file.sha256:
                raise self._other(path, f"the bytes of {file.path}")
            staged.replace(blob)
            fsync_folder(blob.parent)
        except OSError as error:
            raise disk_error(blob, error) from error
        finally:
            staged.unlink(missing_ok=True)

    def _blocks(self, file: FileEntry, path: str) -> Iterator[bytes]:
        blocks = self._place.blocks(path)
        while True:
            with reached(self._place):
                try:
                    block = next(blocks, None)
                except FileNotFoundError as error:
                    raise IntegrityError(
                        f"the bytes of {file.path} are gone",
                        where=f"{self._place.name}/{path}",
                        remedy="register or convert it again",
                    ) from error
            if block is None:
                return
            yield block

    def _below(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _other(self, path: str, what: str) -> IntegrityError:
        return IntegrityError(
            f"{what} are not those that were recorded",
            where=f"{self._place.name}/{path}",
            remedy="delete that object, then register or convert it again",
        )
