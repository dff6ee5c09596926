"""Everything that serves and schedules on this machine, brought up and taken down as one.

`up` checks the ports before it starts anything, may be repeated, and brings back the revisions
that ran before. `down` leaves no process behind.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from infra.local.envoy import PROGRAM as FRONT_DOOR
from infra.local.envoy import EnvoyRouter
from infra.local.fleet import LocalFleet
from infra.local.log_words import last_words
from infra.local.ports import free_ports, is_free
from infra.local.revisions import RevisionRecords
from infra.local.services import (
    MLFLOW,
    PREFECT,
    TITLES,
    Ports,
    is_ready,
    service_host,
    service_program,
    service_url,
)
from infra.local.shared_memory import region_prefix, remove_regions
from infra.local.supervision import Supervisor
from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.workspace import Workspace

READY_TIMEOUT_S = 60.0
"""Prefect's server makes its database at its first start: about 6 s, more on a busy machine."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: whether it answers, where, and why not."""

    name: str
    title: str
    ready: bool
    url: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """What runs in a workspace."""

    supervised: bool
    services: tuple[ServiceStatus, ...]
    revisions: tuple[tuple[str, int], ...]
    """(model, release) of every revision that runs or should."""

    @property
    def ready(self) -> bool:
        """Whether every service that was asked for answers."""
        return self.supervised and all(service.ready for service in self.services)


def up(
    workspace: Workspace,
    *,
    ui: bool = False,
    doors_only: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> StackStatus:
    """Start what is not running, wait until it is ready, and return what runs.

    `ui` asks for the MLflow server too, `doors_only` for what answers requests alone. `progress`
    gets a line when something happens. Raises UserError when a port is taken, before anything was
    started; PermanentEngineError with a service's last words when it does not start.
    """
    supervisor = Supervisor(workspace.run, workspace.logs)
    names = (FRONT_DOOR,) if doors_only else _wanted(workspace, ui=ui)
    # What a killed supervisor left would hold our own ports against us.
    supervisor.sweep()
    ports = _choose_ports(workspace, supervisor)
    supervisor.ensure()
    for name in names:
        supervisor.start(service_program(workspace, name, ports))
        progress(f"{TITLES[name]}: starting at {service_url(workspace, name, ports)}")
    LocalFleet(workspace).resume()
    EnvoyRouter(workspace).refresh()
    for name in names:
        _wait_ready(workspace, supervisor, name, ports)
        progress(f"{TITLES[name]}: ready")
    return status(workspace)


def down(workspace: Workspace) -> None:
    """Stop everything that runs in the workspace. Nothing running: does nothing."""
    if not workspace.run.exists():
        return
    Supervisor(workspace.run, workspace.logs).shutdown()
    for model, release in RevisionRecords(workspace.run).all():
        remove_regions(region_prefix(workspace.run, model, release))


def status(workspace: Workspace) -> StackStatus:
    """What is true now, by asking."""
    supervisor = Supervisor(workspace.run, workspace.logs)
    ports = _kept(workspace.run)
    states = supervisor.states()
    services = []
    for name in (FRONT_DOOR, PREFECT, MLFLOW):
        if ports is None or name not in states:
            continue
        ready = is_ready(workspace, name, ports)
        detail = "" if ready else _why(supervisor, name, states[name].detail)
        url = service_url(workspace, name, ports)
        services.append(ServiceStatus(name, TITLES[name], ready, url, detail))
    return StackStatus(
        supervised=supervisor.alive(),
        services=tuple(services),
        revisions=tuple(RevisionRecords(workspace.run).all()) if states else (),
    )


def require_up(workspace: Workspace) -> None:
    """Raise PermanentEngineError unless the front door answers, so that nothing is begun."""
    ports = _kept(workspace.run)
    if ports is None or not is_ready(workspace, FRONT_DOOR, ports):
        raise PermanentEngineError(
            "the front door is not up, so no traffic can move",
            where=str(workspace.root),
            remedy="run `sluice up`; nothing was changed",
        )


def front_door(workspace: Workspace) -> str | None:
    """`host:port` of the front door, None before the first `up`."""
    ports = _kept(workspace.run)
    return None if ports is None else f"{service_host(workspace, FRONT_DOOR)}:{ports.front_door}"


def prefect_api_url(workspace: Workspace) -> str | None:
    """The API of the workspace's Prefect server, None when it does not answer."""
    ports = _kept(workspace.run)
    if ports is None or not is_ready(workspace, PREFECT, ports):
        return None
    return f"{service_url(workspace, PREFECT, ports)}/api"


def _wanted(workspace: Workspace, *, ui: bool) -> tuple[str, ...]:
    """The services to run: Prefect and MLflow only where the team has no server of its own."""
    prefect = () if os.environ.get("PREFECT_API_URL") else (PREFECT,)
    own_mlflow = ui and not workspace.tracking_uri.startswith(("http://", "https://"))
    return (FRONT_DOOR, *prefect, *((MLFLOW,) if own_mlflow else ()))


def blocked_port(workspace: Workspace) -> str:
    """Why the front door could not open its port, empty when it could or did."""
    supervisor = Supervisor(workspace.run, workspace.logs)
    kept = _kept(workspace.run)
    port = workspace.settings.serving.port or (kept.front_door if kept else 0)
    host = service_host(workspace, FRONT_DOOR)
    if not port or _is_ours(supervisor, FRONT_DOOR, kept, port) or is_free(port, host):
        return ""
    return f"port {port} on {host}, the front door's, is in use by another program"


def _choose_ports(workspace: Workspace, supervisor: Supervisor) -> Ports:
    """The kept ports, or new ones, each seen to be free unless its service runs already."""
    if blocked := blocked_port(workspace):
        raise UserError(
            blocked,
            where=str(workspace.root / "sluice.toml"),
            remedy="stop that program, or set another `port` in [serving]; nothing was started",
        )
    kept = _kept(workspace.run)
    spare = iter(free_ports(3))
    front_door = workspace.settings.serving.port or (kept.front_door if kept else next(spare))
    others = []
    for name in (PREFECT, MLFLOW):
        port = kept.of(name) if kept else next(spare)
        # Nobody was told these ports, so another one is as good.
        usable = _is_ours(supervisor, name, kept, port) or is_free(port)
        others.append(port if usable else next(spare))
    ports = Ports(front_door, *others)
    if ports != kept:
        write_atomic(_ports_file(workspace.run), json.dumps(asdict(ports)).encode())
    return ports


def _is_ours(supervisor: Supervisor, name: str, kept: Ports | None, port: int) -> bool:
    state = supervisor.states().get(name)
    return state is not None and state.up and kept is not None and kept.of(name) == port


def _ports_file(run: Path) -> Path:
    return run / "ports.json"


def _kept(run: Path) -> Ports | None:
    try:
        return Ports(**json.loads(_ports_file(run).read_bytes()))
    except FileNotFoundError:
        return None


def _wait_ready(workspace: Workspace, supervisor: Supervisor, name: str, ports: Ports) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not is_ready(workspace, name, ports):
        state = supervisor.states().get(name)
        if state is None or state.down_for_good:
            detail = "" if state is None else state.detail
            raise PermanentEngineError(
                f"the {TITLES[name]} does not start: {_why(supervisor, name, detail)}",
                where=str(supervisor.log(name)),
                remedy="run `sluice doctor`",
            )
        if time.monotonic() > deadline:
            raise RetryableEngineError(
                f"the {TITLES[name]} was not ready after {READY_TIMEOUT_S:.0f} s",
                where=str(supervisor.log(name)),
            )
        time.sleep(_POLL_S)


def _why(supervisor: Supervisor, name: str, detail: str) -> str:
    return last_words(supervisor.log(name)) or detail
