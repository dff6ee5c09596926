"""A bucket as a place of files of any size: `s3://bucket/prefix` or `gs://bucket/prefix`.

Arrow's client behind fsspec's interface; credentials, time-outs and what an unreachable store means
are those of `infra.s3_place`. An object appears when its upload is complete.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.s3_place import S3Place
from registry.blob_places import BLOCK, FolderPlace
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.blob_places import BlobPlace

_GCS_RETRY_S = 30.0
"""For how long a call is tried again; Arrow's client has no other bound."""


def open_blobs(address: str) -> BlobPlace:
    """A bucket of S3 or GCS, or an absolute folder. Raises UserError for anything else."""
    if address.startswith("gs://"):
        return GcsPlace(address)
    if address.startswith("s3://"):
        return BucketPlace(address)
    if not address.startswith("/"):
        raise UserError(
            f"{address!r} is no place", remedy="write s3://bucket/prefix or an absolute folder"
        )
    return FolderPlace(Path(address))


class BucketPlace(S3Place):
    """The objects below `url`, as registry.blob_places.BlobPlace wants them."""

    def size(self, path: str) -> int | None:
        """See BlobPlace."""

        def ask(client: Any) -> int | None:
            try:
                return int(self._files(client).info(f"{self._base}/{path}")["size"])
            except FileNotFoundError:
                return None

        found: int | None = self._call(ask)
        return found

    def put(self, source: Path, path: str) -> None:
        """See BlobPlace. An upload that breaks off in the middle leaves nothing under the name."""

        def ask(client: Any) -> None:
            target, size = f"{self._base}/{path}", source.stat().st_size
            files = self._files(client)
            with source.open("rb") as file, files.open(target, "wb") as out:
                while block := file.read(BLOCK):
                    out.write(block)
            # Arrow ends an upload well even when its source ended early.
            if files.info(target)["size"] != size:
                client.delete_file(target)
                raise OSError(f"{path} did not arrive whole")

        self._call(ask)

    def blocks(self, path: str) -> Iterator[bytes]:
        """See BlobPlace."""
        file = self._call(lambda client: self._files(client).open(f"{self._base}/{path}", "rb"))
        with file:
            while block := self._call(lambda _: file.read(BLOCK)):
                yield block

    def _files(self, client: Any) -> Any:
        from fsspec.implementations.arrow import (  # type: ignore[import-untyped]
            ArrowFSWrapper,
        )

        return ArrowFSWrapper(client)


class GcsPlace(BucketPlace):
    """The same on Google Cloud Storage, with credentials as its own clients find them."""

    scheme = "gs"

    def _connect(self) -> Any:
        from pyarrow.fs import GcsFileSystem

        return GcsFileSystem(retry_time_limit=timedelta(seconds=_GCS_RETRY_S))
