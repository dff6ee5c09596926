"""How the stack's own services are started: the front door, Prefect's server, MLflow's server.

Each is one supervised program with a loopback port and a way to ask whether it is ready.
"""

from __future__ import annotations

import http
import http.client
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.local import prefect_database
from infra.local.callers import publish_callers
from infra.local.envoy import PROGRAM as FRONT_DOOR
from infra.local.envoy import envoy_program
from infra.local.envoy_admin import EnvoyAdmin
from infra.local.ports import LOOPBACK
from infra.local.request_tracing import request_tracing
from infra.local.supervision import Program
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from registry.workspace import Workspace

PREFECT = "prefect"
MLFLOW = "mlflow"
TITLES = {FRONT_DOOR: "front door (Envoy)", PREFECT: "Prefect server", MLFLOW: "MLflow server"}
_ASK_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that the workspace keeps from one `sluice up` to the next."""

    front_door: int
    prefect: int
    mlflow: int

    def of(self, name: str) -> int:
        """The port of the service `name`."""
        return {FRONT_DOOR: self.front_door, PREFECT: self.prefect, MLFLOW: self.mlflow}[name]


def service_host(workspace: Workspace, name: str) -> str:
    """Where a service listens: the front door as the settings say, the others on loopback."""
    return workspace.settings.serving.host if name == FRONT_DOOR else LOOPBACK


def service_url(workspace: Workspace, name: str, ports: Ports) -> str:
    """The service's address for a person or a client."""
    return f"http://{service_host(workspace, name)}:{ports.of(name)}"


def service_program(workspace: Workspace, name: str, ports: Ports) -> Program:
    """How to start the service `name`."""
    if name == FRONT_DOOR:
        policy = publish_callers(workspace)
        return envoy_program(
            workspace.run,
            service_host(workspace, name),
            ports.front_door,
            policy,
            request_tracing(workspace),
        )
    return _prefect(workspace, ports) if name == PREFECT else _mlflow(workspace, ports)


def is_ready(workspace: Workspace, name: str, ports: Ports) -> bool:
    """Whether the service answers now."""
    if name == FRONT_DOOR:
        try:
            with EnvoyAdmin.connected(workspace.run) as admin:
                return admin.ready()
        except RetryableEngineError:
            return False
    path = "/api/health" if name == PREFECT else "/health"
    # httpx would take longer to import than `sluice status` has time.
    connection = http.client.HTTPConnection(LOOPBACK, ports.of(name), timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _prefect(workspace: Workspace, ports: Ports) -> Program:
    workspace.prefect.mkdir(parents=True, exist_ok=True)
    database = workspace.prefect / prefect_database.DATABASE
    prefect_database.seed(database)
    return Program(
        name=PREFECT,
        command=(
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(ports.prefect)),
        ),
        environment={
            "PREFECT_HOME": str(workspace.prefect),
            **prefect_database.environment(database),
            "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        },
        folder=workspace.prefect,
    )


def _mlflow(workspace: Workspace, ports: Ports) -> Program:
    workspace.mlflow.mkdir(parents=True, exist_ok=True)
    return Program(
        name=MLFLOW,
        command=(
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", LOOPBACK, "--port", str(ports.mlflow)),
            *("--default-artifact-root", str(workspace.mlflow / "artifacts")),
        ),
        environment={
            # Not among the arguments: it may hold the database's password.
            "MLFLOW_BACKEND_STORE_URI": workspace.tracking_uri,
            # Without it the server is ten processes and 2.4 GB.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        folder=workspace.mlflow,
    )
