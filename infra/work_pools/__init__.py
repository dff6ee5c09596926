"""Prefect's work pools: where a flow run becomes a process, a container or a Job of a cluster.

Each template is Prefect's own default for its kind, with less room: no root, no writable program,
bounded memory, and nothing left behind. What a run may do is the same in all of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import PermanentEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("process", "docker", "kubernetes")
POOL = "sluice"
"""The name that `prefect.yaml` deploys to."""
_FOLDER = Path(__file__).resolve().parent


def template(kind: str, defaults: Mapping[str, str]) -> dict[str, Any]:
    """The base job template of a pool of `kind`, with `defaults` for some of its variables.

    Raises UserError for another kind, or for a default of a variable that the kind has not.
    """
    if kind not in KINDS:
        raise UserError(f"no kind of work pool {kind!r}", remedy=f"use one of {', '.join(KINDS)}")
    made: dict[str, Any] = json.loads((_FOLDER / f"{kind}.json").read_bytes())
    variables = made["variables"]["properties"]
    for name, value in defaults.items():
        if name not in variables:
            raise UserError(
                f"a {kind} pool has no variable {name!r}",
                remedy=f"it has {', '.join(sorted(variables))}",
            )
        variables[name]["default"] = value
    return made


def create(kind: str, defaults: Mapping[str, str], name: str = POOL) -> None:
    """Make the pool in the Prefect server that PREFECT_API_URL names, or bring it up to date.

    Raises UserError as `template`, and PermanentEngineError when the server refuses or is away.
    """
    wanted = template(kind, defaults)

    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import PrefectException

    pool = WorkPoolCreate(name=name, type=kind, base_job_template=wanted)
    try:
        with get_client(sync_client=True) as client:
            client.create_work_pool(pool, overwrite=True)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        raise PermanentEngineError(
            f"the work pool could not be made: {error}",
            where="PREFECT_API_URL",
            remedy="see that Prefect's server answers at <PREFECT_API_URL>/health",
        ) from error
