"""Who acts: a name that somebody asserts, or the subject of a verified OpenID Connect token.

A token is checked as RFC 8725 asks: only RS256 and ES256, the key chosen by `kid` from the
issuer's own set (RFC 7517), and `iss`, `aud`, `exp` and `nbf`. A token that does not hold is
refused; nothing falls back to an asserted name then. No message shows a token.
"""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.settings import IdentitySection
    from registry.workspace import Workspace

ACTOR_VARIABLE = "SLUICE_ACTOR"
TOKEN_VARIABLE = "SLUICE_ID_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE_VARIABLE = "SLUICE_ID_TOKEN_FILE"  # noqa: S105 - as above

ALGORITHMS: Mapping[str, str] = {"RS256": "RSA", "ES256": "EC"}
"""Signatures that are accepted, and the type of key (`kty`) that may make each."""

LEEWAY_S = 30
"""How far the issuer's clock may be from ours."""

MAX_TOKEN_CHARACTERS = 16_384

ASSERTED = "asserted"
VERIFIED = "oidc"


@dataclass(frozen=True, slots=True)
class Identity:
    """`actor`, and how it is known: `asserted`, or `oidc` with the token's issuer and groups."""

    actor: str
    known_by: str = ASSERTED
    issuer: str = ""
    groups: frozenset[str] = frozenset()

    def to_origin(self) -> dict[str, Any]:
        """What the journal tells of it."""
        known = {"known_by": self.known_by}
        return known | {"issuer": self.issuer} if self.issuer else known


def identify(workspace: Workspace, environment: Mapping[str, str] | None = None) -> Identity:
    """Who this process acts for, by its environment and `[identity]` of the workspace.

    Raises UserError for a token that does not hold, and where a token is required and there is
    none; RetryableEngineError when the issuer's keys cannot be fetched.
    """
    environment = os.environ if environment is None else environment
    token = _token(environment)
    if not token and not workspace.has_section("identity"):
        return Identity(asserted_actor(environment))
    settings = workspace.settings.identity
    if token:
        return _verified(workspace, settings, token)
    if settings.required:
        raise UserError(
            "this workspace wants a verified identity, and there is no token",
            where="[identity] required",
            remedy=f"put an ID token of {settings.issuer} into {TOKEN_VARIABLE}",
        )
    return Identity(asserted_actor(environment))


def asserted_actor(environment: Mapping[str, str]) -> str:
    """`SLUICE_ACTOR`, else the user at this host."""
    return environment.get(ACTOR_VARIABLE) or f"{getpass.getuser()}@{socket.gethostname()}"


def verify_token(
    token: str, keys: Mapping[str, Any], *, issuer: str, audience: str
) -> dict[str, Any]:
    """The claims of a token that one of `keys` (a JWK set) signed for `audience`.

    Raises UserError that says what does not hold, KeyError for a `kid` that is not in the set.
    """
    import jwt
    from jwt.exceptions import PyJWTError

    try:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        if algorithm not in ALGORITHMS:
            raise _refused(f"is signed by {algorithm!r}; allowed are {', '.join(ALGORITHMS)}")
        key = _key(keys, str(header.get("kid", "")), algorithm)
        claims: dict[str, Any] = jwt.decode(
            token,
            jwt.PyJWK(key, algorithm=algorithm),
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )
    except PyJWTError as error:
        raise _refused(f"does not hold: {error}") from error
    return claims


def identity_of(claims: Mapping[str, Any], settings: IdentitySection) -> Identity:
    """Who the claims name, and the groups that they put them in. Raises UserError for nobody."""
    actor = claims.get(settings.username)
    if not isinstance(actor, str) or not 0 < len(actor) <= 255 or not actor.isprintable():
        raise _refused(f"names nobody in its claim {settings.username!r}")
    named = claims.get(settings.groups, ())
    groups = [named] if isinstance(named, str) else named
    if not isinstance(groups, list | tuple) or not all(isinstance(one, str) for one in groups):
        raise _refused(f"holds no list of names in its claim {settings.groups!r}")
    return Identity(actor, VERIFIED, settings.issuer, frozenset(groups))


def _verified(workspace: Workspace, settings: IdentitySection, token: str) -> Identity:
    from registry.identity_keys import issuer_keys

    if not settings.issuer:
        raise UserError(
            "there is a token, and no [identity] issuer to check it by",
            where=TOKEN_VARIABLE,
            remedy="name the issuer in sluice.toml, or unset the variable",
        )
    known = {"issuer": settings.issuer, "audience": settings.audience}
    try:
        claims = verify_token(token, issuer_keys(workspace, settings.jwks), **known)
    except KeyError:
        # The issuer may have begun to use a new key since its set was kept here.
        keys = issuer_keys(workspace, settings.jwks, again=True)
        try:
            claims = verify_token(token, keys, **known)
        except KeyError as error:
            raise _refused("is signed by a key that the issuer does not name") from error
    return identity_of(claims, settings)


def _key(keys: Mapping[str, Any], kid: str, algorithm: str) -> dict[str, Any]:
    for key in keys["keys"]:
        if kid and key.get("kid") == kid and key.get("use", "sig") == "sig":
            if key.get("kty") != ALGORITHMS[algorithm] or key.get("alg", algorithm) != algorithm:
                raise _refused(f"is signed by {algorithm}, and its key is for something else")
            return dict(key)
    raise KeyError(kid)


def _token(environment: Mapping[str, str]) -> str:
    token, path = environment.get(TOKEN_VARIABLE, ""), environment.get(TOKEN_FILE_VARIABLE, "")
    if not token and path:
        try:
            with Path(path).open(encoding="ascii") as file:
                token = file.read(MAX_TOKEN_CHARACTERS + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError("cannot be read", where=f"{TOKEN_FILE_VARIABLE} {path}") from error
        if not token.strip():
            raise UserError("is empty", where=f"{TOKEN_FILE_VARIABLE} {path}")
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _refused("is longer than any ID token")
    return token.strip()


def _refused(what: str) -> UserError:
    return UserError(
        f"the ID token {what}", where=TOKEN_VARIABLE, remedy="get a new one from the issuer"
    )
