"""Ed25519 signatures over release records (RFC 8032), with a key that stays in the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry.errors import IntegrityError, PermanentEngineError
from registry.files import create_once, disk_error, make_folder

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE = "release-signing-key.pem"
PUBLIC_FILE = "release-signing-key.pub.pem"


class VerifyingKey:
    """The public half."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def load(cls, folder: Path) -> VerifyingKey:
        """Read the public key below `folder`. Raises PermanentEngineError when there is none."""
        path = folder / PUBLIC_FILE
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise PermanentEngineError("no readable public key", where=str(path)) from error
        if not isinstance(key, Ed25519PublicKey):
            raise PermanentEngineError("is not an Ed25519 key", where=str(path))
        return cls(key)

    def verify(self, content: bytes, signature: str) -> None:
        """Raise IntegrityError unless `signature` (hex) is this key's over `content`."""
        try:
            self._key.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise IntegrityError("the signature is not this workspace's") from error

    def to_pem(self) -> bytes:
        """As its file holds it."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class SigningKey:
    """The private half; its file is readable by its owner only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load_or_create(cls, folder: Path) -> SigningKey:
        """Read the key below `folder`, or make it; processes that begin at once share one.

        Raises PermanentEngineError for a file that is no key or that others may read, for a public
        half of another key, and when the disk refuses.
        """
        path = folder / PRIVATE_FILE
        try:
            if not path.exists():
                _create(folder)
            if path.stat().st_mode & 0o077:
                raise PermanentEngineError(
                    "others may read the signing key", where=str(path), remedy="chmod 600 it"
                )
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise PermanentEngineError("is not a readable key", where=str(path)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise PermanentEngineError("is not an Ed25519 key", where=str(path))
        found = cls(key)
        found._keep_public(folder / PUBLIC_FILE)
        return found

    def sign(self, content: bytes) -> str:
        """The signature over `content`, in hex."""
        return self._key.sign(content).hex()

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self._key.public_key())

    def _keep_public(self, path: Path) -> None:
        """Write the public half where a process died before it did; refuse another key's."""
        pem = self.verifying_key.to_pem()
        if not path.exists():
            create_once(path, pem)
        if VerifyingKey.load(path.parent).to_pem() != pem:
            raise PermanentEngineError(
                "is not the public half of the signing key beside it",
                where=str(path),
                remedy="restore the pair from a copy; releases are checked against this file",
            )


def _create(folder: Path) -> None:
    # The public half is written last, so whoever sees it alone has lost the other.
    if (folder / PUBLIC_FILE).exists() and not (folder / PRIVATE_FILE).exists():
        raise PermanentEngineError(
            "the signing key is gone, its public half is here",
            where=str(folder / PRIVATE_FILE),
            remedy="restore it; with a new key, releases so far could not be checked",
        )
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        make_folder(folder)
        folder.chmod(0o700)
    except OSError as error:
        raise disk_error(folder, error) from error
    create_once(folder / PRIVATE_FILE, private, mode=0o600)
