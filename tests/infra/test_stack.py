from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from canary.ports import RevisionState, Route, Share
from infra.local import doctor
from infra.local.envoy import EnvoyRouter
from infra.local.fleet import LocalFleet
from infra.local.orphans import find_orphans
from infra.local.ports import free_ports
from infra.local.stack import down, front_door, prefect_api_url, status, up
from registry.errors import UserError

from .toys import await_state, client, lay_out, make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.workspace import Workspace

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One for all: Prefect's server takes ten seconds of a processor to start."""
    (port,) = free_ports(1)
    made = make_workspace(tmp_path_factory.mktemp("stack"), f"[serving]\nport = {port}\n")
    yield made
    down(made)
    assert find_orphans(made.run) == ()


def test_up_down_and_up_again_brings_back_what_was_served(workspace: Workspace) -> None:
    said: list[str] = []
    first = up(workspace, progress=said.append)
    assert first.ready
    assert {service.name for service in first.services} == {"envoy", "prefect"}
    assert said[-1] == "Prefect server: ready"
    address = front_door(workspace)
    assert address == f"127.0.0.1:{workspace.settings.serving.port}"
    assert httpx.get(f"http://{address}/v2/health/live", trust_env=False).is_success
    assert httpx.get(f"http://{address}/v2/health/ready", trust_env=False).status_code == 503
    lay_out(workspace.repository, "kept", 1)
    LocalFleet(workspace).start("kept", 1)
    await_state(LocalFleet(workspace), "kept", 1, RevisionState.READY)
    written = Route("kept", (Share(1, 100),), 3)
    EnvoyRouter(workspace).write(written)
    processes = {service.name: service for service in up(workspace).services}
    assert processes.keys() == {"envoy", "prefect"}

    down(workspace)
    assert find_orphans(workspace.run) == ()
    assert status(workspace).services == ()
    assert prefect_api_url(workspace) is None
    assert LocalFleet(workspace).running("kept") == ()

    up(workspace)
    assert front_door(workspace) == address
    await_state(LocalFleet(workspace), "kept", 1, RevisionState.READY)
    assert EnvoyRouter(workspace).read("kept") == written
    with client() as rest:
        response = rest.get(f"http://{address}/v2/models/kept")
    assert response.headers["x-sluice-release"] == "1"
    api = prefect_api_url(workspace)
    assert api is not None
    assert httpx.get(f"{api}/health", trust_env=False).json() is True


def test_a_killed_supervisor_is_mended_by_up(workspace: Workspace) -> None:
    up(workspace)
    os.kill(int((workspace.run / "supervisord.pid").read_text()), signal.SIGKILL)
    before = {process.pid for process in find_orphans(workspace.run)}
    assert before
    assert up(workspace).ready
    assert not any(psutil.pid_exists(pid) and _runs(pid) for pid in before)


def test_a_taken_port_is_one_clear_error_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        workspace = make_workspace(tmp_path, f"[serving]\nport = {port}\n")
        with pytest.raises(UserError, match=f"port {port} .* in use") as caught:
            up(workspace)
        assert "\n" not in str(caught.value)
        assert not status(workspace).supervised
        checks = {check.name: check for check in doctor.examine(workspace)}
        assert not checks["ports"].ok
        assert checks["ports"].remedy
    assert find_orphans(workspace.run) == ()


def test_where_the_team_has_a_prefect_server_none_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    team = make_workspace(tmp_path / "team")
    try:
        assert [service.title for service in up(team).services] == ["front door (Envoy)"]
    finally:
        down(team)


def test_nothing_was_ever_up(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    down(workspace)
    now = status(workspace)
    assert not now.supervised
    assert not now.ready
    assert front_door(workspace) is None
    assert prefect_api_url(workspace) is None
    assert not workspace.run.exists()


def test_the_doctor_finds_a_whole_machine(tmp_path: Path) -> None:
    checks = doctor.examine(make_workspace(tmp_path))
    assert [check for check in checks if not check.ok] == []
    assert not any(check.remedy for check in checks)
    assert len({check.name for check in checks}) == len(checks)


def test_the_doctor_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "")
    failed = {check.name: check for check in doctor.examine(None) if not check.ok}
    assert {"environment converter", "environment serving", "Triton server", "git"} <= failed.keys()
    assert all(check.remedy and check.detail for check in failed.values())


def _runs(pid: int) -> bool:
    return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
