"""Ed25519 signatures over release records (RFC 8032), with a key that stays in the workspace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from registry.errors import IntegrityError, PermanentEngineError
from registry.files import write_atomic

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
        except (OSError, ValueError) as error:
            raise PermanentEngineError("no readable public key", where=str(path)) from error
        if not isinstance(key, Ed25519PublicKey):
            raise PermanentEngineError("is not an Ed25519 key", where=str(path))
        return cls(key)

    def verify(self, content: bytes, signature: str) -> None:
        """Raise IntegrityError unless `signature` (hex) is this key's over `content`."""
        try:
            self._key.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError("the signature is not this workspace's") from error


class SigningKey:
    """The private half; its file is readable by its owner only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load_or_create(cls, folder: Path) -> SigningKey:
        """Read the key below `folder`, or make it. Raises PermanentEngineError for another file."""
        path = folder / PRIVATE_FILE
        if not path.exists():
            return cls._create(folder)
        if path.stat().st_mode & 0o077:
            raise PermanentEngineError(
                "others may read the signing key", where=str(path), remedy="chmod 600 it"
            )
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise PermanentEngineError("is not a readable key", where=str(path)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise PermanentEngineError("is not an Ed25519 key", where=str(path))
        return cls(key)

    def sign(self, content: bytes) -> str:
        """The signature over `content`, in hex."""
        return self._key.sign(content).hex()

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self._key.public_key())

    @classmethod
    def _create(cls, folder: Path) -> SigningKey:
        key = Ed25519PrivateKey.generate()
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)  # noqa: PTH101 - pathlib has no chmod that reads better
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomic(folder / PUBLIC_FILE, public)
        write_atomic(folder / PRIVATE_FILE, private, mode=0o600)
        return cls(key)
