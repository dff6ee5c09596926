"""What every command begins with: the workspace, and for flows, Prefect pointed at its server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.assembly import Platform
    from registry.workspace import Workspace

_SERVER_IS_AWAY = ("Failed to reach API", "ephemeral Prefect API server")

ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model: models/NAME.toml.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
ArtifactOption = Annotated[
    str, typer.Option("--artifact", help="Digest (or its beginning); default: the newest.")
]


def find_workspace() -> Workspace:
    """`SLUICE_WORKSPACE`, else the folder at or above this one that holds sluice.toml."""
    from registry.workspace import Workspace

    return Workspace.find(Path(os.environ.get("SLUICE_WORKSPACE") or Path.cwd()))


def open_platform() -> Platform:
    """The workspace's engines, for commands that act without a flow."""
    from pipelines.assembly import Platform

    return Platform(find_workspace())


def run_flow(workspace: Workspace, name: str, **arguments: Any) -> dict[str, Any]:
    """Run the flow `pipelines.NAME.NAME` with progress on standard error; returns its result."""
    from cli.progress import progress
    from pipelines.prefect_settings import point_prefect
    from registry.spans import span

    with progress():
        point_prefect(workspace)
        flow = getattr(import_module(f"pipelines.{name}"), name)
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # Ending its heartbeat takes Prefect up to a second, and the journal knows without it.
        quick = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
        with quick, _prefect_explained():
            named = {"model": str(arguments["model"])} if "model" in arguments else {}
            with span(f"flow {name}", flow=name, **named):
                result: dict[str, Any] = flow(workspace=str(workspace.root), **arguments)
        return result


@contextmanager
def _prefect_explained() -> Iterator[None]:
    """Prefect says only in a RuntimeError's text that its server cannot be reached."""
    from registry.errors import RetryableEngineError

    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _SERVER_IS_AWAY):
            raise
        raise RetryableEngineError(
            str(error),
            where="Prefect",
            remedy="`sluice up` starts a server; PREFECT_API_URL names the team's",
        ) from error
