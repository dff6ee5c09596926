"""Key pairs: making them, reading and writing their PEM files, signing and checking bytes.

New keys are ECDSA on P-256 (FIPS 186-5), the curve that OpenSSF model-signing, Sigstore and most
hardware take; nonces are those of RFC 6979, so that the same bytes have the same signature. Ed25519
keys (RFC 8032) of older workspaces are still read. This module knows no folder of a workspace, and
whom to trust is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from registry.errors import IntegrityError, PermanentEngineError

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE_VARIABLE = "SLUICE_KEY_PASSPHRASE"  # noqa: S105 - a variable's name
"""With it, private keys are encrypted on disk, and without it an encrypted one is not opened."""
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 14, 8, 5
"""16 MiB, the most that OpenSSL's own programs open, and a quarter of a second for each guess."""


class PublicKey:
    """The public half of a pair."""

    def __init__(self, key: ec.EllipticCurvePublicKey | Ed25519PublicKey) -> None:
        self.key = key

    @classmethod
    def from_pem(cls, content: bytes, where: str) -> PublicKey:
        """Read a PEM file's content. Raises PermanentEngineError that names `where`."""
        try:
            key = serialization.load_pem_public_key(content)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise PermanentEngineError("no readable public key", where=where) from error
        if not _is_usable(key):
            raise _unusable(where)
        return cls(key)  # type: ignore[arg-type]  # `_is_usable` looked

    @property
    def id(self) -> str:
        """SHA-256, in hex, of the key as SubjectPublicKeyInfo."""
        spki = self.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(spki).hexdigest()

    @property
    def kind(self) -> str:
        """The algorithm, as a person reads it."""
        if isinstance(self.key, Ed25519PublicKey):
            return "Ed25519"
        return f"ECDSA {self.key.curve.name}"

    def to_pem(self) -> bytes:
        """As its file holds it."""
        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `content` (ECDSA: DER, as X9.62 says)."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, content)
            else:
                self.key.verify(signature, content, ec.ECDSA(_HASHES[self.key.curve.name]))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


class PrivateKey:
    """The private half of a pair."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> None:
        self.key = key

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new pair on P-256."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes | None = None) -> PrivateKey:
        """Read a PKCS #8 or SEC 1 file; without `passphrase`, by that of the environment.

        Raises PermanentEngineError for a file that others may read, that is no key, or whose
        passphrase is missing or wrong.
        """
        given = passphrase or passphrase_of_environment()
        try:
            if path.stat().st_mode & 0o077:
                raise PermanentEngineError(
                    "others may read the signing key", where=str(path), remedy="chmod 600 it"
                )
            content = path.read_bytes()
            key = serialization.load_pem_private_key(
                content, given if _is_locked(content) else None
            )
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _unreadable(path, error, has_passphrase=given is not None) from error
        if not _is_usable(key.public_key()):
            raise _unusable(str(path))
        return cls(key)  # type: ignore[arg-type]  # `_is_usable` looked

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.key.public_key())

    def sign(self, content: bytes) -> bytes:
        """The signature over `content`: DER for ECDSA, 64 bytes for Ed25519."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(content)
        chosen = _HASHES[self.key.curve.name]
        return self.key.sign(content, ec.ECDSA(chosen, deterministic_signing=True))

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS #8, encrypted (scrypt, AES-256-CBC) when there is a passphrase."""
        if passphrase is None:
            return self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        plain = self.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return _pem("ENCRYPTED PRIVATE KEY", _encrypted(plain, passphrase))


def passphrase_of_environment() -> bytes | None:
    """`SLUICE_KEY_PASSPHRASE`, None when it is not set or empty."""
    found = os.environ.get(PASSPHRASE_VARIABLE, "")
    return found.encode() or None


def is_encrypted(path: Path) -> bool:
    """Whether a passphrase is needed to read the key."""
    try:
        return _is_locked(path.read_bytes())
    except OSError:
        return False


def read_hex(signature: object) -> bytes:
    """A signature's bytes from lower-case hex. Raises IntegrityError for any other spelling.

    One signature has one spelling, so that no byte of a record can change unseen.
    """
    try:
        raw = bytes.fromhex(signature)  # type: ignore[arg-type]  # what is no text raises TypeError
    except (ValueError, TypeError) as error:
        raise IntegrityError("the signature is not this workspace's") from error
    if raw.hex() != signature:
        raise IntegrityError("the signature is not this workspace's")
    return raw


def _is_usable(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _HASHES
    return isinstance(key, Ed25519PublicKey)


def _is_locked(content: bytes) -> bool:
    return b"ENCRYPTED" in content


def _unusable(where: str) -> PermanentEngineError:
    return PermanentEngineError(
        "is not an ECDSA key on P-256, P-384 or P-521",
        where=where,
        remedy="`sluice keys new FILE` makes one",
    )


def _unreadable(path: Path, error: Exception, *, has_passphrase: bool) -> PermanentEngineError:
    if not is_encrypted(path):
        return PermanentEngineError("is not a readable key", where=str(path))
    if not has_passphrase:
        what, remedy = "the key is encrypted", f"set {PASSPHRASE_VARIABLE}"
    elif isinstance(error, UnsupportedAlgorithm):
        what, remedy = "is encrypted in a way that is not known here", "convert it to PKCS #8"
    else:
        what, remedy = "the passphrase does not open the key", f"correct {PASSPHRASE_VARIABLE}"
    return PermanentEngineError(what, where=str(path), remedy=remedy)


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo by PBES2 (RFC 8018) with scrypt (RFC 7914).

    The library's own writer takes PBKDF2 with 2,048 rounds, which is far too few for a passphrase.
    """
    salt, start = os.urandom(16), os.urandom(16)
    kdf = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES256(kdf.derive(passphrase)), modes.CBC(start)).encryptor()
    content = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()
    costs = [_der_integer(value) for value in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P)]
    scrypt = _der(0x30, _SCRYPT, _der(0x30, _der(0x04, salt), *costs))
    aes = _der(0x30, _AES_256_CBC, _der(0x04, start))
    return _der(0x30, _der(0x30, _PBES2, _der(0x30, scrypt, aes)), _der(0x04, content))


_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _der_integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _pem(label: str, content: bytes) -> bytes:
    import base64
    import textwrap

    lines = textwrap.wrap(base64.b64encode(content).decode(), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
