"""Where a cluster's pods get releases from: a mounted folder, or a bucket of S3 or GCS.

Arrow's own clients read and write buckets, with credentials as each cloud's clients find them. What
is read is not trusted here: whoever reads checks it against the signed manifest.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.layout import ReleaseLayout
from model_repository.publishing import check_files, read_record
from registry.errors import PermanentEngineError, RetryableEngineError
from registry.hash_memory import HashMemory
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.manifest import Manifest
    from registry.workspace import Workspace

_CHUNK = 4 << 20
_CONNECT_S, _ANSWER_S = 5.0, 60.0


def fetch(source: str, manifest: Manifest, target: Path) -> None:
    """Copy the files that `manifest` names from `source` to below `target`, and nothing else.

    `source` is a folder, `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`. Raises RetryableEngineError
    when a file cannot be had.
    """
    files, base = _opened(source)
    for file in manifest.files:
        path = target / file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.open_input_stream(f"{base}/{file.path}") as reading, path.open("xb") as out:
                shutil.copyfileobj(reading, out, _CHUNK)
            path.chmod(0o444)
        except OSError as error:
            raise RetryableEngineError(
                f"cannot be copied: {' '.join(str(error).split())[:200]}",
                where=f"{source}/{file.path}",
                remedy="check that the release is there and this pod may read it",
            ) from error


def upload(workspace: Workspace, source: str, model: str, release: int) -> None:
    """Bring a published release to the bucket `source`, once its bytes match what was signed.

    A claim is the repository itself: nothing is done. What is there with the same size is left;
    configurations come last. Raises IntegrityError, RetryableEngineError.
    """
    if "://" not in source:
        return
    layout = ReleaseLayout(workspace.repository, model, release)
    manifest = read_record(layout, workspace.releases, VerifyingKey.load(workspace.keys))
    check_files(layout, manifest, HashMemory.of_workspace(workspace))
    files, base = _opened(source)
    try:
        for path, size in _configurations_last(manifest):
            if not _is_there(files, f"{base}/{path}", size):
                with (
                    (workspace.repository / path).open("rb") as reading,
                    files.open_output_stream(f"{base}/{path}") as out,
                ):
                    shutil.copyfileobj(reading, out, _CHUNK)
    except OSError as error:
        raise RetryableEngineError(
            f"release {release} cannot be brought there: {' '.join(str(error).split())[:200]}",
            where=source,
            remedy="check the bucket and this process's credentials",
        ) from error


def _configurations_last(manifest: Manifest) -> Iterator[tuple[str, int]]:
    files = sorted(manifest.files, key=lambda file: (file.path.endswith(".pbtxt"), file.path))
    return ((file.path, file.size) for file in files)


def _is_there(files: Any, path: str, size: int) -> bool:
    from pyarrow.fs import FileType

    found = files.get_file_info(path)
    return bool(found.type == FileType.File and found.size == size)


def _opened(source: str) -> tuple[Any, str]:
    """Arrow's file system, and the path in it below which the releases lie."""
    from pyarrow import fs

    scheme, found, rest = source.partition("://")
    base = rest.rstrip("/")
    if not found:
        return fs.LocalFileSystem(), str(Path(source).absolute())
    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return (
            fs.S3FileSystem(
                endpoint_override=endpoint,
                region=region,
                connect_timeout=_CONNECT_S,
                request_timeout=_ANSWER_S,
            ),
            base,
        )
    if scheme == "gs":
        return fs.GcsFileSystem(), base
    raise PermanentEngineError(
        f"{source!r} is no folder and no bucket", remedy="use s3:// or gs://"
    )
