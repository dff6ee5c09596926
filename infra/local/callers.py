"""The callers that a workspace gave a token, and what Envoy is told of them.

A token is a JWT signed with ES256 by a key that serves for nothing else; only its name, number and
end are kept. Withdrawing one, or changing the key, takes effect without a restart, and a command
returns only once Envoy uses it. `tell` is called before a change is written; when it raises,
nothing has changed.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from infra.local.door_policy import (
    ISSUER,
    DoorPolicy,
    read_provider,
    verified_callers,
    withdrawn_tokens,
)
from infra.local.envoy_admin import EnvoyAdmin
from infra.local.envoy_files import EnvoyFiles
from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.files import canonical_json, locked, make_folder, write_atomic
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from registry.workspace import Workspace

DAY_S = 86_400.0
LONGEST_DAYS = 366
TAKE_TIMEOUT_S = 5.0
_ALGORITHM = "ES256"
_LOCK_TIMEOUT_S = 30.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was given out; times are UTC epoch seconds."""

    id: str
    name: str
    made_at: float
    expires_at: float
    withdrawn_at: float | None = None

    def counts(self, now: float) -> bool:
        """Whether it opens the door."""
        return self.withdrawn_at is None and now < self.expires_at


def nobody(_: Token) -> None:
    """For who has nobody to tell of a token."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    pem: str = field(repr=False)
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: tuple[_Key, ...] = ()
    tokens: tuple[Token, ...] = ()


class Callers:
    """Callers of one workspace. `clock` is UTC epoch seconds."""

    def __init__(self, workspace: Workspace, *, clock: Callable[[], float] = time.time) -> None:
        self._workspace = workspace
        self._clock = clock
        self._path = workspace.keys / "callers.json"

    def tokens(self) -> tuple[Token, ...]:
        """Everything that was given out, oldest first."""
        return self._read().tokens

    def add(
        self, name: str, days: float, *, tell: Callable[[Token], None] = nobody
    ) -> tuple[Token, str]:
        """Give `name` a token for `days`; returns what is kept of it, and the token itself, once.

        A caller may have several, so that a new one is in use before the old one is withdrawn.
        Raises UserError for an illegal name or duration.
        """
        check_name(name, what="name of a caller")
        if not 0 < days <= LONGEST_DAYS:
            raise UserError(f"a token lasts up to {LONGEST_DAYS} days, not {days:g}")
        now = self._clock()
        token = Token(secrets.token_hex(8), name, now, now + days * DAY_S)
        with self._changing():
            kept = self._read()
            if not kept.keys:
                kept = replace(kept, keys=(_new_key(),))
            tell(token)
            self._keep(replace(kept, tokens=(*kept.tokens, token)))
        key = kept.keys[-1]
        claims = {
            "iss": ISSUER,
            "sub": name,
            "jti": token.id,
            "iat": int(now),
            "exp": int(token.expires_at),
        }
        return token, jwt.encode(claims, key.pem, algorithm=_ALGORITHM, headers={"kid": key.id})

    def withdraw(
        self, name: str, identifier: str = "", *, tell: Callable[[Token], None] = nobody
    ) -> tuple[Token, ...]:
        """Refuse from now on the tokens of `name`, or the one of them; returns those refused.

        Raises UserError when there is none, RetryableEngineError when Envoy does not take it.
        """
        now = self._clock()
        with self._changing():
            kept = self._read()
            gone = tuple(
                replace(token, withdrawn_at=now)
                for token in kept.tokens
                if token.name == name and identifier in {"", token.id} and token.counts(now)
            )
            if not gone:
                raise UserError(
                    f"{name!r} has no such token",
                    where=str(self._path),
                    remedy="`sluice callers list` shows them",
                )
            by_id = {token.id: token for token in gone}
            for token in gone:
                tell(token)
            self._keep(replace(kept, tokens=tuple(by_id.get(one.id, one) for one in kept.tokens)))
        return gone

    def rotate(self, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """Sign with a new key from now on; tokens of the keys before count until their end.

        `tell` is given the new key's id. Raises RetryableEngineError when Envoy does not take it.
        """
        now, key = self._clock(), _new_key()
        with self._changing():
            kept = self._read()
            last = max((token.expires_at for token in kept.tokens), default=0.0)
            older = tuple(
                replace(key, retired_at=key.retired_at or now) for key in kept.keys if last > now
            )
            tell(key.id)
            self._keep(replace(kept, keys=(*older, key)))

    def publish(self) -> tuple[str, str]:
        """Write what Envoy is to verify tokens by; returns the versions of both files.

        Raises UserError for a provider's key set that is none.
        """
        kept, settings, now = self._read(), self._workspace.settings.serving, self._clock()
        provider = None
        if settings.issuer:
            path = self._workspace.root / settings.issuer_keys
            provider = read_provider(settings.issuer, settings.audience, path)
        withdrawn = [
            token.id
            for token in kept.tokens
            if token.withdrawn_at is not None and token.expires_at > now - DAY_S
        ]
        # Envoy takes no empty set; the key that nobody keeps verifies nothing.
        keys = kept.keys or (_new_key(),)
        return EnvoyFiles(self._workspace.run).write_callers(
            verified_callers(_key_set(keys), provider), withdrawn_tokens(withdrawn)
        )

    def _changing(self) -> AbstractContextManager[None]:
        """One change of the list at a time."""
        lock = self._path.with_suffix(".lock")
        return locked(lock, timeout_s=_LOCK_TIMEOUT_S, busy="another command changes the callers")

    def _keep(self, kept: _Kept) -> None:
        """Write the list, and return once Envoy goes by it."""
        make_folder(self._path.parent)
        write_atomic(self._path, canonical_json(asdict(kept)), mode=0o600)
        if door_policy(self._workspace).asks_for_tokens:
            _wait_taken(self._workspace, self.publish())

    def _read(self) -> _Kept:
        try:
            content: dict[str, Any] = json.loads(self._path.read_bytes())
            keys = tuple(_Key(**key) for key in content["keys"])
            return _Kept(keys, tuple(Token(**token) for token in content["tokens"]))
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PermanentEngineError(
                "is not the list of callers",
                where=str(self._path),
                remedy="restore it from a copy, or remove it and give out new tokens",
            ) from error


def door_policy(workspace: Workspace) -> DoorPolicy:
    """As `[serving]` says."""
    serving = workspace.settings.serving
    return DoorPolicy(serving.max_request_mb << 20, serving.requests_per_s, serving.callers)


def publish_callers(workspace: Workspace) -> DoorPolicy:
    """The policy, once Envoy will find the callers that it asks for."""
    policy = door_policy(workspace)
    if policy.asks_for_tokens:
        Callers(workspace).publish()
    return policy


def _wait_taken(workspace: Workspace, versions: tuple[str, str]) -> None:
    """Return once Envoy uses these versions; at once where it does not run."""
    deadline = time.monotonic() + TAKE_TIMEOUT_S
    while True:
        try:
            with EnvoyAdmin.connected(workspace.run) as admin:
                taken = admin.callers_taken()
        except RetryableEngineError:
            return  # the next `sluice up` begins with them
        # A door that was opened to anyone has neither filter until it is started again.
        if taken in {versions, ("", "")}:
            return
        if time.monotonic() > deadline:
            raise RetryableEngineError(
                f"Envoy did not take the callers in {TAKE_TIMEOUT_S:.0f} s",
                where=str(workspace.run),
                remedy="run the command again",
            )
        time.sleep(_POLL_S)


def _new_key() -> _Key:
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return _Key(secrets.token_hex(8), private.decode())


def _key_set(keys: tuple[_Key, ...]) -> str:
    """The public halves as a JWKS (RFC 7517)."""
    found = []
    for key in keys:
        private = serialization.load_pem_private_key(key.pem.encode(), password=None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - made by `_new_key`
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        found.append(public | {"kid": key.id, "alg": _ALGORITHM, "use": "sig"})
    return canonical_json({"keys": found}).decode()
