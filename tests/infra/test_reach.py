"""What can be reached from outside: inference, and nothing that controls a server."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from tritonclient.utils import InferenceServerException

from .toys import client, grpc_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .toys import Door

pytestmark = pytest.mark.engine

MODEL = "reached"
CONTROL = (
    ("POST", "/v2/repository/index"),
    ("POST", f"/v2/repository/models/{MODEL}/load"),
    ("POST", f"/v2/repository/models/{MODEL}/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/any/register"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("POST", "/v2/cudasharedmemory/region/any/register"),
    ("GET", "/v2/trace/setting"),
    ("POST", f"/v2/models/{MODEL}/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/metrics"),
    ("GET", f"/v2/models/{MODEL}/stats"),
)
ADMIN = ("/config_dump", "/stats", "/clusters", "/server_info", "/certs", "/memory")
TRICKS = (
    f"/v2/models/{MODEL}/../../repository/index",
    "/v2//repository//index",
    "/v2/repository%2Findex",
    "/v2/repository%2findex",
    "/v2/./repository/index",
    f"/v2/models/{MODEL}%2F..%2F..%2Frepository%2Findex",
    "/V2/repository/index",
    "/v2/repository/index?x=/v2/health/ready",
    "/v2/health/ready/../../repository/index",
    "//v2/repository/index",
)


@pytest.fixture(scope="module")
def reached(door: Door) -> Iterator[Door]:
    door.serve(MODEL, 1)
    door.route(MODEL, (1, 100))
    yield door
    door.fleet.stop(MODEL, 1)


def secret(door: Door) -> str:
    return door.fleet._records.all()[MODEL, 1].secret


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_control_is_refused_at_the_front_door(reached: Door, method: str, path: str) -> None:
    headers = {"x-sluice-secret": secret(reached)}  # even of somebody who knows it
    with client() as rest:
        answer = rest.request(method, reached.url + path, headers=headers, json={})
        assert answer.status_code in (403, 404), answer.text
        assert rest.get(f"{reached.url}/v2/models/{MODEL}/ready").status_code == 200


@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_leads_around_it(reached: Door, path: str) -> None:
    with client() as rest:
        request = rest.build_request("POST", reached.url, json={})
        request.url = httpx.URL(reached.url, raw_path=path.encode())
        assert rest.send(request).status_code in (400, 403, 404)


@pytest.mark.parametrize("path", ADMIN)
def test_envoys_admin_is_not_behind_the_front_door(reached: Door, path: str) -> None:
    with client() as rest:
        assert rest.get(reached.url + path).status_code == 403
        assert rest.post(f"{reached.url}/quitquitquit").status_code == 403


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_model_repository_index", ()),
        ("load_model", (MODEL,)),
        ("unload_model", (MODEL,)),
        ("get_system_shared_memory_status", ()),
        ("register_system_shared_memory", ("any", "/any", 64)),
        ("get_cuda_shared_memory_status", ()),
        ("get_trace_settings", ()),
        ("get_log_settings", ()),
        ("get_inference_statistics", (MODEL,)),
    ],
)
def test_control_by_grpc_is_refused_too(
    reached: Door, method: str, arguments: tuple[Any, ...]
) -> None:
    headers = {"x-sluice-secret": secret(reached), "x-model": MODEL}
    with grpc_client(reached) as grpc:
        with pytest.raises(InferenceServerException) as caught:
            getattr(grpc, method)(*arguments, headers=headers)
        assert caught.value.status() in ("StatusCode.PERMISSION_DENIED", "StatusCode.UNIMPLEMENTED")
        assert grpc.is_model_ready(MODEL)


def test_a_neighbour_on_this_machine_needs_the_secret(reached: Door) -> None:
    endpoints = reached.fleet._records.all()[MODEL, 1]
    with client() as rest:
        for method, path in CONTROL[:12]:
            answer = rest.request(method, endpoints.http_url + path, json={})
            assert answer.status_code == 403, (path, answer.text)


def test_everything_but_the_front_door_listens_on_loopback(reached: Door) -> None:
    programs = [psutil.Process(one.pid) for one in reached.supervisor.states().values() if one.pid]
    listening = [
        one.laddr
        for program in programs
        for process in (program, *program.children(recursive=True))
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4  # the front door, and a Triton's three
    # gRPC binds IPv4's loopback as an IPv6 address that stands for it.
    found = {address.ip.removeprefix("::ffff:") for address in listening}
    assert all(ipaddress.ip_address(one).is_loopback for one in found), found
    for path in (reached.workspace.keys, reached.workspace.run):
        assert not path.exists() or path.stat().st_mode & 0o022 == 0
