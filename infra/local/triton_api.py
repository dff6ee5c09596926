"""Asks one Triton over HTTP: is it ready, did its models load, what answers, what was cached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.local.backends.config import DEVICE_METRIC
from infra.local.ports import LOOPBACK
from infra.local.triton import SECRET_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from infra.local.triton import Endpoints

TIMEOUT_S = 2.0
NOT_LOADED = "the model did not load"
_UNDER_WAY = frozenset({"READY", "LOADING", "UNLOADING"})
_EXCEPTION = re.compile(r"^(?:Internal: )?(?:TritonModelException: )?(.*?)(?: At: \S+: \w+)*$")
"""The reason of a Python model: what was raised, then where."""
_DEVICE = re.compile(
    rf'^{DEVICE_METRIC}\{{[^}}]*\bdevice="([^"]+)"[^}}]*\}} 1(?:\.0*)?$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Requests that a model's response cache answered, and those that it could not."""

    hits: int = 0
    misses: int = 0


def is_ready(endpoints: Endpoints, models: Sequence[str], release: int) -> bool:
    """Whether the server answers and has version `release` of every model ready, warmed up."""
    return all(_is_ready(endpoints, model, release) for model in models)


def load_failure(endpoints: Endpoints, models: Sequence[str]) -> str:
    """Which of the models did not load and why, by the server's index; empty when all did.

    Empty as well when nobody answers. The server opens its ports only after it tried, so a model
    that the index does not call ready then, and that is not on its way, has failed: `NOT_LOADED`
    where the index gives no reason. With several models the reason starts with the model's name.
    """
    rows = _index(endpoints)
    if rows is None:
        return ""
    failed = [model for model in models if not _under_way(rows, model)]
    for model in failed:
        if reason := _reason(rows, model):
            return reason if len(models) == 1 else f"{model}: {reason}"
    return NOT_LOADED if failed else ""


def served_versions(endpoints: Endpoints, model: str) -> tuple[str, ...]:
    """The versions of `model` that are ready, by the server's index."""
    return tuple(
        str(row.get("version"))
        for row in _index(endpoints) or []
        if row.get("name") == model and row.get("state") == "READY"
    )


def devices(endpoints: Endpoints) -> tuple[str, ...]:
    """The devices that answer the server's models now, by its own metrics, sorted."""
    response = _ask("GET", f"http://{LOOPBACK}:{endpoints.metrics}/metrics")
    if response is None or response.status_code != 200:
        return ()
    return tuple(sorted(set(_DEVICE.findall(response.text))))


def cache_statistics(endpoints: Endpoints, model: str) -> CacheStatistics:
    """What the response cache did for `model` since the server started; zeros without a cache."""
    response = _ask("GET", f"{endpoints.http_url}/v2/models/{model}/stats")
    if response is None or response.status_code != 200:
        return CacheStatistics()
    rows = [row["inference_stats"] for row in response.json()["model_stats"]]
    hits, misses = (
        sum(int(row.get(name, {}).get("count", 0)) for row in rows)
        for name in ("cache_hit", "cache_miss")
    )
    return CacheStatistics(hits, misses)


def _is_ready(endpoints: Endpoints, model: str, release: int) -> bool:
    response = _ask("GET", f"{endpoints.http_url}/v2/models/{model}/versions/{release}/ready")
    return response is not None and response.status_code == 200


def _under_way(rows: list[dict[str, Any]], model: str) -> bool:
    return any(row.get("name") == model and row.get("state") in _UNDER_WAY for row in rows)


def _reason(rows: list[dict[str, Any]], model: str) -> str:
    """The index's last reason for `model` on one line, without where in its program it arose."""
    reasons = [row["reason"] for row in rows if row.get("name") == model and row.get("reason")]
    text = " ".join(str(reasons[-1]).split()) if reasons else ""
    found = _EXCEPTION.match(text)
    return found[1] if found else text


def _index(endpoints: Endpoints) -> list[dict[str, Any]] | None:
    response = _ask(
        "POST",
        f"{endpoints.http_url}/v2/repository/index",
        headers={SECRET_HEADER: endpoints.secret},
    )
    if response is None or response.status_code != 200:
        return None
    rows: list[dict[str, Any]] = response.json()
    return rows


def _ask(method: str, url: str, **options: Any) -> httpx.Response | None:
    """The response, None when nobody answers in time."""
    import httpx

    try:
        return httpx.request(
            method,
            url,
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP; no certificates to load
            **options,
        )
    except httpx.TransportError:
        return None
