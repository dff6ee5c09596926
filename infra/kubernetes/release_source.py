"""Where a cluster's pods get releases from: a mounted folder, or a bucket of S3 or GCS.

What is read is not trusted here: whoever reads checks it against the signed manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.bucket_place import open_blobs
from model_repository.bucket_release import send_files
from model_repository.layout import ReleaseLayout
from model_repository.publishing import check_files, read_record
from registry.errors import RetryableEngineError
from registry.hash_memory import HashMemory
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from pathlib import Path

    from registry.manifest import Manifest
    from registry.workspace import Workspace


def fetch(source: str, manifest: Manifest, target: Path) -> None:
    """Copy the files that `manifest` names from `source` to below `target`, and nothing else.

    `source` is a folder, `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`. Raises RetryableEngineError
    when a file cannot be had.
    """
    place = open_blobs(source)
    for file in manifest.files:
        path = target / file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                for block in place.blocks(file.path):
                    out.write(block)
            path.chmod(0o444)
        except OSError as error:
            raise RetryableEngineError(
                f"cannot be copied: {' '.join(str(error).split())[:200]}",
                where=f"{source}/{file.path}",
                remedy="check that the release is there and this pod may read it",
            ) from error


def upload(workspace: Workspace, source: str, model: str, release: int) -> None:
    """Bring a published release to the bucket `source`, once its bytes match what was signed.

    A claim is the repository itself: nothing is done. What is there with the same size is left.
    Raises IntegrityError, RetryableEngineError.
    """
    if "://" not in source:
        return
    layout = ReleaseLayout(workspace.repository, model, release)
    manifest = read_record(layout, workspace.releases, VerifyingKey.load(workspace.keys))
    check_files(layout, manifest, HashMemory.of_workspace(workspace))
    send_files(open_blobs(source), workspace.repository, manifest)
