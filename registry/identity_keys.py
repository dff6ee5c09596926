"""The public keys of an OpenID Connect issuer: from a file, or from its address and kept a while.

A set that was fetched is used for ten minutes without asking again, and for up to a day while the
issuer does not answer, so that a way back does not depend on the issuer being up.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from registry.errors import RetryableEngineError, UserError
from registry.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from registry.workspace import Workspace

FRESH_S = 600.0
STALE_S = 86_400.0
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20


def issuer_keys(workspace: Workspace, jwks: str, *, again: bool = False) -> dict[str, Any]:
    """The JWK set (RFC 7517) at `jwks`, a path in the workspace or an address.

    With `again` a kept set is not enough, unless it was fetched within this last second. Raises
    UserError for a file that holds none, RetryableEngineError when the issuer gives none.
    """
    if not jwks.startswith(("http://", "https://")):
        path = workspace.root / jwks
        try:
            return _parsed(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"is no JWK set: {error}", where=f"[identity] jwks {path}") from error
    kept = workspace.run / f"identity-keys-{hashlib.sha256(jwks.encode()).hexdigest()[:16]}.json"
    age = _age(kept)
    if age < (1.0 if again else FRESH_S):
        with suppress(OSError, ValueError):
            return _parsed(kept.read_bytes())
    try:
        content = _fetch(jwks)
        keys = _parsed(content)
    except (RetryableEngineError, ValueError) as error:
        if age < STALE_S:
            with suppress(OSError, ValueError):
                return _parsed(kept.read_bytes())
        raise RetryableEngineError(
            f"the issuer gave no keys: {error}",
            where=f"[identity] jwks {jwks}",
            remedy="run it again, or keep the set in a file",
        ) from error
    write_atomic(kept, content, mode=0o600)
    return keys


def _age(path: Path) -> float:
    """Seconds since it was written; endless for one that is not there or is from the future."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
    return age if age >= 0 else float("inf")


def _fetch(url: str) -> bytes:
    """The body at `url`. The whole of it takes at most twice `TIMEOUT_S`."""
    import httpx

    deadline, content = time.monotonic() + TIMEOUT_S, b""
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_S, follow_redirects=False) as answer:
            if answer.status_code != 200:
                raise RetryableEngineError(f"it answered {answer.status_code}")
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES or time.monotonic() > deadline:
                    raise RetryableEngineError("it answers too much or too slowly")
    except httpx.HTTPError as error:
        raise RetryableEngineError(f"{type(error).__name__}") from error
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("there is no list `keys` in it")
    return {"keys": keys}
