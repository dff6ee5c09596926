"""The init container of a revision: brings one release into the pod, or refuses it.

`python -m infra.kubernetes.fetch_release` copies what the signed manifest names, hashes it, and
tells the manifest's digest or the reason of a refusal, in one line that the kubelet keeps
(`--tell`). Triton starts only after it ended well, and sees nothing else. Exit status 0: verified;
3: bytes or signature are not the right ones, so another try is of no use; 2: try again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.kubernetes.names import REFUSED
from infra.kubernetes.release_source import fetch
from model_repository.layout import ReleaseLayout
from model_repository.publishing import check_files, read_record
from registry.errors import IntegrityError, SluiceError
from registry.files import canonical_json
from registry.signature import ROOT_FILE, VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.manifest import Manifest

_AGAIN = 2
_RECORD = "record.json"


def fetch_release(
    source: str, layout: ReleaseLayout, trust: Path, *, digest: str, work: Path
) -> Manifest:
    """Fill `layout.repository` with the release, and return its manifest.

    `trust` holds `root.json`, the chain of keys, and `record.json`, the signed record; `digest` is
    that of the manifest that was asked for; `work` is an empty folder of the caller's. Raises
    IntegrityError when signature, digest or bytes differ (nothing is left in the repository then),
    RetryableEngineError when the source cannot be read.
    """
    records = layout.record(work)
    records.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trust / _RECORD, records)
    shutil.copyfile(trust / ROOT_FILE, work / ROOT_FILE)
    manifest = read_record(layout, work, VerifyingKey.load(work))
    if manifest.digest != digest:
        raise IntegrityError(
            f"the record is of manifest {manifest.digest[:12]}, asked for is {digest[:12]}",
            where=f"{layout.model} release {layout.release}",
        )
    _empty(layout.repository)
    try:
        fetch(source, manifest, layout.repository)
        check_files(layout, manifest)
    except SluiceError:
        _empty(layout.repository)
        raise
    return manifest


def _empty(folder: Path) -> None:
    """A restarted container finds what the last try left."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run by the pod; the exit status."""
    import tempfile

    asked = _parse(arguments)
    try:
        with tempfile.TemporaryDirectory() as work:
            layout = ReleaseLayout(asked.target, asked.model, asked.release)
            manifest = fetch_release(
                asked.source, layout, asked.trust, digest=asked.digest, work=Path(work)
            )
    except (SluiceError, OSError) as error:
        told, status = str(error), REFUSED if isinstance(error, IntegrityError) else _AGAIN
    else:
        values = {"digest": manifest.digest, "files": len(manifest.files), "bytes": manifest.size}
        told, status = canonical_json(values).decode(), 0
    asked.tell.write_text(told)
    print(told, file=sys.stderr if status else sys.stdout)
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bring one verified release into this pod.")
    parser.add_argument("--source", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--release", required=True, type=int)
    parser.add_argument("--digest", required=True)
    for name in ("trust", "target", "tell"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
