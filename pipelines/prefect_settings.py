"""Points Prefect at the workspace's server, before Prefect is used."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pipelines.stages import announce
from registry.files import disk_error
from registry.quiet import silence

if TYPE_CHECKING:
    from registry.workspace import Workspace


def point_prefect(workspace: Workspace) -> None:
    """Set Prefect's environment: the running server, else one of its own for this command.

    A `PREFECT_API_URL` that is already set wins: it is the team's server. Raises
    PermanentEngineError when the disk refuses Prefect's home.
    """
    from infra.local import prefect_database
    from infra.local.stack import prefect_api_url

    silence()
    try:
        workspace.prefect.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(workspace.prefect, error) from error
    os.environ.setdefault("PREFECT_HOME", str(workspace.prefect))
    os.environ.setdefault("PREFECT_RESULTS_LOCAL_STORAGE_PATH", str(workspace.prefect / "results"))
    # Results are read back by later commands: JSON, never pickle.
    os.environ.setdefault("PREFECT_RESULTS_DEFAULT_SERIALIZER", "json")
    # The command shows progress and errors itself; the server still gets every log line.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    if "PREFECT_API_URL" not in os.environ:
        if address := prefect_api_url(workspace):
            os.environ["PREFECT_API_URL"] = address
        else:
            announce(
                "No Prefect server is up: starting one for this command (`sluice up` keeps one)"
            )
            prefect_database.seed(workspace.prefect / prefect_database.DATABASE)
            os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
    if (prefect := sys.modules.get("prefect.context")) is not None:
        # It reads the environment once, as it is imported.
        prefect.refresh_global_settings_context()
