"""Asks one Triton over HTTP: is it ready, did its model load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.local.triton import SECRET_HEADER

if TYPE_CHECKING:
    import httpx

    from infra.local.triton import Endpoints

TIMEOUT_S = 2.0
NOT_LOADED = "the model did not load"


def is_ready(endpoints: Endpoints, model: str, release: int) -> bool:
    """Whether the server answers and has version `release` of `model` ready, warm-up included."""
    response = _ask("GET", f"{endpoints.http_url}/v2/models/{model}/versions/{release}/ready")
    return response is not None and response.status_code == 200


def load_failure(endpoints: Endpoints, model: str) -> str:
    """Why the model did not load, by the server's index; empty when it did or nobody answers.

    The server opens its ports only after it tried, so a model that the index does not call ready
    then, and that is not on its way, has failed: `NOT_LOADED` where the index gives no reason.
    """
    rows = _index(endpoints)
    if rows is None:
        return ""
    own = [row for row in rows if row.get("name") == model]
    if any(row.get("state") in {"READY", "LOADING", "UNLOADING"} for row in own):
        return ""
    reasons = [str(row["reason"]) for row in own if row.get("reason")]
    return " ".join(reasons[-1].split()) if reasons else NOT_LOADED


def served_versions(endpoints: Endpoints, model: str) -> tuple[str, ...]:
    """The versions of `model` that are ready, by the server's index."""
    return tuple(
        str(row.get("version"))
        for row in _index(endpoints) or []
        if row.get("name") == model and row.get("state") == "READY"
    )


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
