"""Where OpenSSF model-signing is met: it signs and checks by the hashes that a manifest has.

Its modules for manifests and payloads are not promised to stay as they are, so they are used here
and nowhere else. What it raises over bytes from outside becomes an IntegrityError.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from registry.errors import IntegrityError, UserError

if TYPE_CHECKING:
    from model_signing import manifest as oms_manifest
    from model_signing import verifying

    from registry.keys import PrivateKey
    from registry.manifest import Manifest

EXTENSION = "sluice"
"""Field of the predicate with what OMS has no place for; its readers pass it over."""


def sign_manifest(
    manifest: Manifest, key: PrivateKey, *, name: str, model: str, at: float
) -> bytes:
    """A bundle over the files of `manifest`, which are not read again.

    `name` is the folder's, `model` the one that the folder is meant for, empty for any, and `at`
    the time. Raises UserError for a key that OMS does not take.
    """
    from model_signing._signing.sign_ec_key import Signer
    from model_signing._signing.signing import Payload

    class HeldKey(Signer):
        """The library's signer by a key that is open already."""

        def __init__(self) -> None:
            self._private_key = key.key

    if not key.public.kind.startswith("ECDSA"):
        raise UserError(
            f"model-signing takes no {key.public.kind} key",
            remedy="`sluice keys rotate` brings in one that it takes",
        )
    payload = Payload(_manifest(manifest, model or name))
    ours = {"model": model, "at": at, "digest": manifest.digest}
    payload.statement.pb.predicate.update({EXTENSION: ours})
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "bundle"
        HeldKey().sign(payload).write(written)
        return written.read_bytes()


def ask(checker: verifying.Config, bundle: bytes, manifest: Manifest) -> None:
    """Let model-signing check a bundle against our hashes. Raises IntegrityError."""
    from model_signing import hashing

    class Known(hashing.Config):
        """Gives our hashes in place of hashing, and ignores what a bundle wants ignored."""

        def hash(self, *_: object, **__: object) -> oms_manifest.Manifest:
            return _manifest(manifest, "")

        def add_ignored_paths(self, **_: object) -> None:
            pass

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        path.write_bytes(bundle)
        try:
            known = Known()  # type: ignore[no-untyped-call]  # the library's own gap
            checker.set_hashing_config(known).verify(folder, path)
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise IntegrityError(f"model-signing refuses it: {reason}") from error


def _manifest(manifest: Manifest, name: str) -> oms_manifest.Manifest:
    """Our manifest as the library's."""
    from model_signing import manifest as oms
    from model_signing._hashing.hashing import Digest

    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    items = [
        oms.FileManifestItem(
            path=PurePosixPath(file.path), digest=Digest("sha256", bytes.fromhex(file.sha256))
        )
        for file in manifest.files
    ]
    return oms.Manifest(name, items, oms.SerializationType.from_args(how))
