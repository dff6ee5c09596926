"""Asks one Triton over HTTP: is it ready, did its model load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from infra.local.triton import SECRET_HEADER

if TYPE_CHECKING:
    from infra.local.triton import Endpoints

TIMEOUT_S = 2.0


def is_ready(endpoints: Endpoints, model: str, release: int) -> bool:
    """Whether the server answers and has version `release` of `model` ready, warm-up included."""
    response = _ask("GET", f"{endpoints.http_url}/v2/models/{model}/versions/{release}/ready")
    return response is not None and response.status_code == 200


def load_failure(endpoints: Endpoints, model: str) -> str:
    """Why the model did not load, by the server's index; empty when it did or nobody answers."""
    for row in _index(endpoints):
        if row.get("name") == model and row.get("state") == "UNAVAILABLE":
            return " ".join(str(row.get("reason") or "the model is not available").split())
    return ""


def served_versions(endpoints: Endpoints, model: str) -> tuple[str, ...]:
    """The versions of `model` that are ready, by the server's index."""
    return tuple(
        str(row.get("version"))
        for row in _index(endpoints)
        if row.get("name") == model and row.get("state") == "READY"
    )


def _index(endpoints: Endpoints) -> list[dict[str, Any]]:
    response = _ask(
        "POST",
        f"{endpoints.http_url}/v2/repository/index",
        headers={SECRET_HEADER: endpoints.secret},
    )
    rows: list[dict[str, Any]] = [] if response is None else response.json()
    return rows if isinstance(rows, list) else []


def _ask(method: str, url: str, **options: Any) -> httpx.Response | None:
    """The response, None when nobody answers in time."""
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
