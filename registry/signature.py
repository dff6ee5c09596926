"""The workspace's own signatures: one key that signs, and a chain that says which keys count.

In the folder lie the private half, the public half as PEM for tools of others, and `root.json`,
the chain of `registry.root`. Keys are brought in and taken out by `registry.rotation`.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import IntegrityError, PermanentEngineError, SluiceError
from registry.files import create_once, disk_error, locked, make_folder, write_atomic
from registry.keys import (
    PASSPHRASE_VARIABLE,
    PrivateKey,
    PublicKey,
    is_encrypted,
    passphrase_of_environment,
    read_hex,
)
from registry.root import Root, RootChain, State, TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["PASSPHRASE_VARIABLE", "SigningKey", "VerifyingKey"]

PRIVATE_FILE = "release-signing-key.pem"
PUBLIC_FILE = "release-signing-key.pub.pem"
ROOT_FILE = "root.json"
NEXT_FILE = "release-signing-key.next.pem"
"""The key that a rotation brings in, until the chain names it and it takes its place."""
VALID_DAYS = 400
"""How long a version of the chain lets its key sign. What was signed stays signed."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature it is."""

    id: str
    key: TrustedKey


class VerifyingKey:
    """The keys that a workspace trusts, as the newest version of its chain names them."""

    def __init__(
        self, keys: Mapping[str, TrustedKey], signing: str, chain: RootChain | None
    ) -> None:
        self._keys = keys
        self._signing = signing
        self.chain = chain

    @classmethod
    def of(cls, chain: RootChain) -> VerifyingKey:
        """What the chain's newest version trusts."""
        return cls(chain.newest.keys, chain.newest.signing, chain)

    @classmethod
    def load(cls, folder: Path) -> VerifyingKey:
        """Read the chain below `folder`, or the one public key of a workspace without a chain.

        Raises PermanentEngineError when there is neither, IntegrityError for a chain that breaks.
        """
        path = folder / ROOT_FILE
        if path.exists():
            return cls.of(load_chain(folder))
        path = folder / PUBLIC_FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PermanentEngineError("no readable public key", where=str(path)) from error
        public = PublicKey.from_pem(content, str(path))
        return cls({public.id: TrustedKey(public)}, public.id, None)

    def verify(self, content: bytes, signature: str) -> str:
        """The id of the key whose `signature` (hex) over `content` counts.

        It does when a trusted key made it, or a retired one before it was retired. Raises
        IntegrityError for any other.
        """
        signer = self.signer(content, signature)
        if signer is None:
            raise IntegrityError("the signature is not this workspace's")
        name, key = signer.id[:12], signer.key
        if key.state is State.REVOKED:
            raise IntegrityError(
                f"it is signed by key {name}, which was revoked", remedy="`sluice keys resign`"
            )
        if key.state is State.RETIRED and hashlib.sha256(content).hexdigest() not in key.sealed:
            raise IntegrityError(
                f"it is signed by key {name}, and was not known when that key was retired",
                remedy="if the journal knows it, `sluice keys resign`",
            )
        return signer.id

    def signer(self, content: bytes, signature: str) -> Signer | None:
        """Which of all keys ever known signed `content`, trusted or not; None for none of them."""
        raw = read_hex(signature)
        found = (
            Signer(name, key)
            for name, key in self._keys.items()
            if key.public.has_signed(content, raw)
        )
        return next(found, None)

    @property
    def id(self) -> str:
        """The id of the key that signs now."""
        return self._signing

    @property
    def public(self) -> PublicKey:
        """The key that signs now."""
        return self._keys[self._signing].public

    def to_pem(self) -> bytes:
        """The key that signs now, as its file holds it."""
        return self.public.to_pem()


class SigningKey:
    """The private half of the key that signs now; its file is readable by its owner only."""

    def __init__(
        self, private: PrivateKey, chain: RootChain, clock: Callable[[], float] = time.time
    ) -> None:
        self.private = private
        self.chain = chain
        self._clock = clock

    @classmethod
    def load_or_create(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> SigningKey:
        """Read the key below `folder`, or make it; processes that begin at once share one.

        With a passphrase in the environment, a key that lies there in the clear is encrypted.
        Raises PermanentEngineError for a file that is no key, that others may read or whose
        passphrase is missing or wrong, for a public half of another key, and when the disk
        refuses; IntegrityError for a chain of keys that breaks.
        """
        path = folder / PRIVATE_FILE
        try:
            if not path.exists():
                _create(folder)
        except OSError as error:
            raise PermanentEngineError("is not a readable key", where=str(path)) from error
        private = PrivateKey.load(path)
        passphrase = passphrase_of_environment()
        if passphrase is not None and not is_encrypted(path):
            write_atomic(path, private.to_pem(passphrase), mode=0o600)
        if not (folder / ROOT_FILE).exists():
            _refuse_other_half(folder, {private.public.id})
            now = clock()
            first = Root.first(
                private.public, at=now, expires=now + VALID_DAYS * DAY_S, actor="sluice"
            )
            create_once(folder / ROOT_FILE, RootChain((first.signed_by(private),)).to_json())
        chain = load_chain(folder)
        if chain.newest.signing != private.public.id:
            private = _finish_rotation(folder, chain)
        found = cls(private, chain, clock)
        _keep_public(folder, found)
        return found

    def sign(self, content: bytes) -> str:
        """The signature over `content`, in hex.

        Raises PermanentEngineError when the chain's newest version is over: nothing new is signed.
        """
        newest = self.chain.newest
        if self._clock() >= newest.expires:
            raise PermanentEngineError(
                "the keys' version is over, nothing new is signed by it",
                where=ROOT_FILE,
                remedy="`sluice keys rotate`",
            )
        return self.private.sign(content).hex()

    @property
    def id(self) -> str:
        """SHA-256, in hex, of the public half."""
        return self.private.public.id

    @property
    def verifying_key(self) -> VerifyingKey:
        """What the chain trusts."""
        return VerifyingKey.of(self.chain)


def load_chain(folder: Path) -> RootChain:
    """The chain below `folder`. Raises IntegrityError when it breaks."""
    path = folder / ROOT_FILE
    try:
        return RootChain.from_json(path.read_bytes())
    except OSError as error:
        raise PermanentEngineError("the chain of keys cannot be read", where=str(path)) from error
    except IntegrityError as error:
        raise IntegrityError(
            error.what, where=str(path), remedy="restore it from a copy"
        ) from error


def keys_locked(folder: Path) -> AbstractContextManager[None]:
    """One process at a time changes the keys."""
    return locked(folder / "keys.lock", timeout_s=10.0, busy="another process changes the keys")


def write_public(folder: Path, public: PublicKey) -> None:
    """Put the public half where tools of others read it."""
    write_atomic(folder / PUBLIC_FILE, public.to_pem())


def _keep_public(folder: Path, key: SigningKey) -> None:
    """Write the public half where a process died before it did; refuse a stranger's."""
    path, pem = folder / PUBLIC_FILE, key.verifying_key.to_pem()
    _refuse_other_half(folder, set(key.chain.newest.keys))
    if not path.exists():
        create_once(path, pem)
    elif path.read_bytes() != pem:
        write_public(folder, key.verifying_key.public)


def _refuse_other_half(folder: Path, known: set[str]) -> None:
    path = folder / PUBLIC_FILE
    if path.exists() and PublicKey.from_pem(path.read_bytes(), str(path)).id not in known:
        raise PermanentEngineError(
            "is not the public half of the signing key beside it",
            where=str(path),
            remedy="restore the pair from a copy; releases are checked against this file",
        )


def _finish_rotation(folder: Path, chain: RootChain) -> PrivateKey:
    """Put the key in its place that a rotation named in the chain, and died."""
    with keys_locked(folder):
        for path in (folder / NEXT_FILE, folder / PRIVATE_FILE):
            try:
                private = PrivateKey.load(path)
            except SluiceError:
                continue
            if private.public.id == chain.newest.signing:
                path.replace(folder / PRIVATE_FILE)
                return private
    raise PermanentEngineError(
        f"is not the key that {ROOT_FILE} says signs now",
        where=str(folder / PRIVATE_FILE),
        remedy="restore the pair from a copy",
    )


def _create(folder: Path) -> None:
    # The private half is written first, so whoever sees another alone has lost it.
    others = any((folder / name).exists() for name in (PUBLIC_FILE, ROOT_FILE))
    if others and not (folder / PRIVATE_FILE).exists():
        raise PermanentEngineError(
            "the signing key is gone, its public half is here",
            where=str(folder / PRIVATE_FILE),
            remedy="restore it; with a new key, releases so far could not be checked",
        )
    try:
        make_folder(folder)
        folder.chmod(0o700)
    except OSError as error:
        raise disk_error(folder, error) from error
    content = PrivateKey.generate().to_pem(passphrase_of_environment())
    create_once(folder / PRIVATE_FILE, content, mode=0o600)
