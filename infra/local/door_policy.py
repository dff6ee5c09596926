"""Who may ask the front door, and how much: Envoy's filters before all others.

Tokens are JWTs (RFC 7519) that Envoy verifies by itself: those that this workspace gave out, and
those of one identity provider. (Envoy's filter for API keys is marked as work in progress, which
its security team does not support.) Keys and withdrawn tokens come from watched files, so they
change without a restart. Pure: values in, Envoy's JSON out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Json = dict[str, Any]

ISSUER = "sluice"
"""Who gives out a workspace's own tokens."""
VERIFIED, WITHDRAWN = "callers", "withdrawn"
"""The two filters that come from watched files."""
SKEW_S = 60
"""By how much a caller's clock may be off."""
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_JWT = f"{_FILTERS}.jwt_authn.v3.JwtAuthentication"
_RBAC = f"{_FILTERS}.rbac.v3.RBAC"
_JWT_METADATA = "envoy.filters.http.jwt_authn"
_PAYLOAD = "caller"


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider whose tokens count too; `keys` is its JWKS (RFC 7517) as JSON text."""

    issuer: str
    audience: str
    keys: str


@dataclass(frozen=True, slots=True)
class DoorPolicy:
    """`requests_per_s` is of all callers together, 0 without a limit."""

    max_request_bytes: int = 64 << 20
    """A minute of 16 kHz audio is 4 MB in gRPC and about 20 MB as JSON text."""
    requests_per_s: int = 0
    callers: Literal["anyone", "tokens"] = "anyone"

    @property
    def asks_for_tokens(self) -> bool:
        """Whether a caller must show one."""
        return self.callers == "tokens"


def door_filters(policy: DoorPolicy, verified: Json, withdrawn: Json) -> list[Json]:
    """The first filters; `verified` and `withdrawn` are config sources of the watched files."""
    filters = []
    if policy.asks_for_tokens:
        filters += [_discovered(VERIFIED, verified, _JWT), _discovered(WITHDRAWN, withdrawn, _RBAC)]
    if policy.requests_per_s:
        filters.append(_rate_limit(policy.requests_per_s))
    size = {"@type": f"{_FILTERS}.buffer.v3.Buffer", "max_request_bytes": policy.max_request_bytes}
    return [*filters, {"name": "envoy.filters.http.buffer", "typed_config": size}]


def verified_callers(own_keys: str, provider: Provider | None) -> Json:
    """The filter's configuration: a token of the workspace's JWKS `own_keys`, or the provider's."""
    providers = {ISSUER: _provider(ISSUER, "", own_keys)}
    if provider is not None:
        providers["provider"] = _provider(provider.issuer, provider.audience, provider.keys)
    any_of = {"requires_any": {"requirements": [{"provider_name": name} for name in providers]}}
    one = {"provider_name": ISSUER}
    rule = {"match": {"prefix": "/"}, "requires": any_of if provider else one}
    return _extension(VERIFIED, {"@type": _JWT, "providers": providers, "rules": [rule]})


def withdrawn_tokens(identifiers: Iterable[str]) -> Json:
    """The filter's configuration that refuses the workspace's tokens with these `jti`."""
    named = [
        {
            "metadata": {
                "filter": _JWT_METADATA,
                "path": [{"key": _PAYLOAD}, {"key": "jti"}],
                "value": {"string_match": {"exact": one}},
            }
        }
        for one in sorted(identifiers)
    ]
    policies = {
        WITHDRAWN: {"permissions": [{"any": True}], "principals": [{"or_ids": {"ids": named}}]}
    }
    rules = {"action": "DENY", "policies": policies if named else {}}
    return _extension(WITHDRAWN, {"@type": _RBAC, "rules": rules})


def read_provider(issuer: str, audience: str, keys: Path) -> Provider:
    """The provider with the JWKS in the file `keys`. Raises UserError when it holds none."""
    try:
        content: Mapping[str, Any] = json.loads(keys.read_text())
        whole = bool(content["keys"]) and all("kty" in key for key in content["keys"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"holds no key set: {error}", where=str(keys)) from error
    if not whole or any("d" in key or "k" in key for key in content["keys"]):
        raise UserError(
            "is not a set of public keys",
            where=str(keys),
            remedy="put the provider's JWKS there, as it publishes it",
        )
    return Provider(issuer, audience, json.dumps(content))


def _provider(issuer: str, audience: str, keys: str) -> Json:
    return {
        "issuer": issuer,
        **({"audiences": [audience]} if audience else {}),
        "local_jwks": {"inline_string": keys},
        "require_expiration": True,
        "clock_skew_seconds": SKEW_S,
        # No server, log or record sees a token.
        "forward": False,
        "payload_in_metadata": _PAYLOAD,
    }


def _discovered(name: str, source: Json, type_url: str) -> Json:
    return {
        "name": name,
        "config_discovery": {"config_source": source, "type_urls": [type_url]},
    }


def _extension(name: str, config: Json) -> Json:
    """As a watched file holds it."""
    kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    return {"@type": kind, "name": name, "typed_config": config}


def _rate_limit(requests_per_s: int) -> Json:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "front_door_limit",
            "token_bucket": {
                "max_tokens": requests_per_s,
                "tokens_per_fill": requests_per_s,
                "fill_interval": "1s",
            },
            "filter_enabled": always,
            "filter_enforced": always,
        },
    }
