from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from canary.ports import ArmCounters, Mirror, RevisionState, Route, Share
from infra.local import envoy_actions, envoy_files
from infra.local.envoy_routes import route_table, routes_of
from infra.local.ports import free_ports, is_free
from registry.errors import PermanentEngineError, RetryableEngineError

from .toys import BROKEN, REFUSED, await_state, client, counts, grpc_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .toys import Door

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def pair(door: Door) -> Iterator[str]:
    """A model with two ready releases, for the tests that leave them as they are."""
    door.serve("pair", 1, 2)
    yield "pair"
    for release in (1, 2):
        door.fleet.stop("pair", release)


@pytest.fixture
def both(door: Door, pair: str) -> str:
    door.route(pair, (1, 50), (2, 50))
    return pair


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_flipping_weights_under_load_loses_no_request(door: Door, both: str, protocol: str) -> None:
    stop = threading.Event()
    failures: list[str] = []
    answered: list[str] = []

    def load() -> None:
        with client() as rest, grpc_client(door) as grpc:
            while not stop.is_set():
                try:
                    if protocol == "rest":
                        one = door.rest(rest, both)
                        (answered if one.status == 200 else failures).append(one.text)
                    else:
                        answered.append(door.grpc(grpc, both))
                except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                    failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(40):
        weight = (number * 37) % 101
        door.route(both, (1, 100 - weight), (2, weight))
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {"release 1", "release 2"} <= set(answered)


def test_the_next_request_goes_where_the_route_says(door: Door, pair: str) -> None:
    with client() as rest:
        for number in range(30):
            release = 1 + number % 2
            door.route(pair, (release, 100))
            assert door.rest(rest, pair).release == release


def test_a_session_is_on_the_same_side_over_both_protocols(door: Door, both: str) -> None:
    sides = {}
    with client() as rest, grpc_client(door) as grpc:
        for number in range(30):
            session = f"session-{number}"
            one = door.rest(rest, both, session=session)
            assert one.text == f"release {one.release} {session}"
            sides[session] = one.release
            assert door.grpc(grpc, both, session=session) == one.text
    assert set(sides.values()) == {1, 2}


def test_answers_name_release_revision_and_request(door: Door, both: str) -> None:
    with client() as rest:
        response = rest.get(f"{door.url}/v2/models/{both}", headers={"x-request-id": "mine-17"})
    release = response.headers["x-sluice-release"]
    assert response.headers["x-sluice-revision"] == f"{both}/r{release}"
    assert response.headers["x-request-id"] == "mine-17"
    assert not [name for name in response.headers if name.startswith("x-envoy")]


def test_a_pinned_version_is_answered_by_it_and_not_counted(door: Door, pair: str) -> None:
    door.route(pair, (1, 100), (2, 0))
    before = door.telemetry.read(pair, 1000)
    body = {"inputs": [{"name": "waveform", "datatype": "FP32", "shape": [1, 1], "data": [0]}]}
    with client() as rest, grpc_client(door) as grpc:
        url = f"{door.url}/v2/models/{pair}/versions"
        assert rest.post(f"{url}/2/infer", json=body).headers["x-sluice-release"] == "2"
        assert rest.post(f"{url}/3/infer", json=body).status_code == 404
        assert grpc.get_model_metadata(pair, "2").versions == ["2"]
        assert grpc.is_model_ready(pair)
    assert door.telemetry.read(pair, 1000) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/repository/index", 403),
        ("POST", "/v2/repository/models/pair/unload", 403),
        ("POST", "/v2/models/pair/../../repository/index", 403),
        ("POST", "/v2//repository/index", 403),
        ("POST", "/v2/models/pair%2f..%2f..%2frepository/index", 400),
        ("POST", "/v2/systemsharedmemory/region/x/register", 403),
        ("POST", "/v2/cudasharedmemory/region/x/register", 403),
        ("GET", "/v2/logging", 403),
        ("POST", "/v2/trace/setting", 403),
        ("POST", "/v2/models/pair/trace/setting", 403),
        ("GET", "/v2/models/pair/stats", 403),
        ("GET", "/v2/models/stats", 404),
        ("GET", "/metrics", 403),
        ("GET", "/", 403),
        ("GET", "/stats", 403),
        ("GET", "/v2/models/absent", 404),
        ("GET", "/v2/models/absent/versions/1/infer", 404),
        ("GET", "/v2/models/pair/versions/9", 404),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2", 200),
        ("GET", "/v2/models/pair", 200),
        ("GET", "/v2/models/pair/config", 200),
        ("GET", "/v2/models/pair/ready", 200),
        ("GET", "/v2/models/pair/versions/1/ready", 200),
    ],
)
def test_only_the_inference_protocol_passes_the_front_door(
    door: Door, both: str, method: str, path: str, status: int
) -> None:
    assert both == "pair"
    with client() as rest:
        # Sent as written: httpx would tidy the path before Envoy sees it.
        request = rest.build_request(method, door.url, headers={"x-sluice-secret": ""})
        request.url = request.url.copy_with(raw_path=path.encode())
        response = rest.send(request)
    assert response.status_code == status, response.text
    if status in {403, 404}:
        assert response.json()["error"]


def test_only_the_inference_service_passes_over_grpc(door: Door, both: str) -> None:
    from tritonclient.utils import InferenceServerException

    def status_of(act: Any) -> str:
        with pytest.raises(InferenceServerException) as caught:
            act()
        return str(caught.value.status())

    with grpc_client(door) as grpc:
        refused = [
            grpc.get_model_repository_index,
            lambda: grpc.load_model(both),
            lambda: grpc.unload_model(both),
            grpc.get_system_shared_memory_status,
            grpc.get_log_settings,
            grpc.get_trace_settings,
            lambda: grpc.get_inference_statistics(both),
        ]
        assert {status_of(act) for act in refused} == {"StatusCode.PERMISSION_DENIED"}
        assert status_of(lambda: door.grpc(grpc, "absent")) == "StatusCode.NOT_FOUND"
        unserved = status_of(lambda: grpc.get_model_metadata(both, "9"))
        assert unserved == "StatusCode.NOT_FOUND"
        assert grpc.is_server_live()
        assert grpc.is_server_ready()
        assert grpc.get_server_metadata().name == "triton"
        assert grpc.get_model_config(both).config.name == both


def test_compressed_and_large_grpc_requests_pass(door: Door, both: str) -> None:
    import tritonclient.grpc as grpcclient

    large = np.zeros((1, 2_000_000), dtype=np.float32)
    tensor = grpcclient.InferInput("waveform", list(large.shape), "FP32")
    tensor.set_data_from_numpy(large)
    with grpc_client(door) as grpc:
        result = grpc.infer(both, [tensor], client_timeout=30)
        assert int(result.as_numpy("token_count")[0, 0]) == large.size
        packed = grpc.infer(both, [tensor], compression_algorithm="gzip", headers={"x-model": both})
        assert int(packed.as_numpy("token_count")[0, 0]) == large.size


def test_a_stream_is_routed_by_its_header(door: Door, both: str) -> None:
    import queue

    import tritonclient.grpc as grpcclient

    answers: queue.Queue[Any] = queue.Queue()
    tensor = grpcclient.InferInput("waveform", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 1), dtype=np.float32))
    with grpc_client(door) as grpc:
        headers = {"x-model": both, "x-session-id": "s"}
        grpc.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
        grpc.async_stream_infer(both, [tensor])
        result, error = answers.get(timeout=10)
        grpc.stop_stream()
    assert error is None
    assert result.as_numpy("transcript")[0, 0].startswith(b"release ")


def test_counters_equal_what_clients_saw(door: Door, both: str) -> None:
    from tritonclient.utils import InferenceServerException

    before = door.telemetry.read(both, 100)
    seen = {1: ArmCounters(), 2: ArmCounters()}

    def note(release: int, *, failed: bool, slow: bool) -> None:
        old = seen[release]
        seen[release] = ArmCounters(old.requests + 1, old.errors + failed, old.slow + slow)

    plans = [(0, 0)] * 20 + [(0, REFUSED)] * 4 + [(0, BROKEN)] * 3 + [(150, 0)] * 4
    with client() as rest, grpc_client(door) as grpc:
        for sleep_ms, outcome in plans:
            one = door.rest(rest, both, outcome=outcome, sleep_ms=sleep_ms)
            note(one.release, failed=outcome > 0, slow=sleep_ms > 0)
            assert (one.status == 200) == (outcome == 0)
        for number, (sleep_ms, outcome) in enumerate(plans):
            session = f"session-{number}"
            release = door.rest(rest, both, session=session).release
            note(release, failed=False, slow=False)
            try:
                door.grpc(grpc, both, outcome=outcome, sleep_ms=sleep_ms, session=session)
            except InferenceServerException:
                assert outcome > 0
            note(release, failed=outcome > 0, slow=sleep_ms > 0)
        for _ in range(5):
            rest.get(f"{door.url}/v2/models/{both}/ready")
            grpc.is_model_ready(both)
    time.sleep(0.2)
    after = door.telemetry.read(both, 100)
    for release, expected in seen.items():
        old, new = before.get(release, ArmCounters()), after[release]
        gained = (new.requests - old.requests, new.errors - old.errors, new.slow - old.slow)
        # A busy machine may make a quick answer slow, never the other way round.
        assert gained[:2] == (expected.requests, expected.errors)
        assert expected.slow <= gained[2] <= expected.slow + 5
    with pytest.raises(ValueError, match="not one of"):
        door.telemetry.read(both, 123)


def test_requests_to_a_dead_revision_are_errors_of_its_release(door: Door, model: str) -> None:
    from tritonclient.utils import InferenceServerException

    door.serve(model, 1)
    door.route(model, (1, 100))
    door.supervisor.stop(f"revision-{model}-r1")
    with client() as rest, grpc_client(door) as grpc:
        for _ in range(3):
            one = door.rest(rest, model)
            assert (one.status, one.release) == (503, 1)
        for _ in range(2):
            with pytest.raises(InferenceServerException):
                door.grpc(grpc, model)
    time.sleep(0.1)
    assert door.telemetry.read(model, 1000)[1] == ArmCounters(requests=5, errors=5, slow=0)
    door.fleet.stop(model, 1)


def test_a_hanging_revision_shows_as_errors(
    door: Door, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tritonclient.utils import InferenceServerException

    monkeypatch.setattr(envoy_actions, "REQUEST_TIMEOUT", "0.5s")
    door.serve(model, 1)
    door.route(model, (1, 100))
    with client() as rest, grpc_client(door) as grpc:
        assert door.rest(rest, model, sleep_ms=900).status == 504
        with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
            door.grpc(grpc, model, sleep_ms=900)
    time.sleep(0.1)
    counters = door.telemetry.read(model, 1000)[1]
    assert (counters.requests, counters.errors) == (2, 2)
    door.fleet.stop(model, 1)


def test_a_killed_envoy_comes_back_with_its_routes(door: Door, both: str) -> None:
    written = Route(both, (Share(1, 30), Share(2, 70)), 1)
    door.router.write(written)
    first = door.supervisor.states()["envoy"].pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        try:
            if door.router.read(both) == written:
                break
        except RetryableEngineError:
            time.sleep(0.05)
    with client() as rest:
        served = [door.rest(rest, both) for _ in range(20)]
    assert {one.status for one in served} == {200}
    assert set(counts(served)) == {1, 2}


def test_a_route_to_a_release_without_revision_is_refused(door: Door, both: str) -> None:
    before = door.router.read(both)
    with pytest.raises(PermanentEngineError, match="no revision"):
        door.route(both, (1, 50), (8, 50))
    assert door.router.read(both) == before


def test_a_route_that_envoy_rejects_leaves_the_former_one(
    door: Door, both: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = door.router.read(both)
    with monkeypatch.context() as patched:
        broken = route_table([])
        broken["virtual_hosts"][0]["domains"] = []
        patched.setattr(envoy_files, "route_table", lambda *_: broken)
        real = envoy_files.EnvoyFiles.write_routes
        written: list[Any] = []

        def once(files: Any, *routes: Any) -> str:
            if written:
                patched.undo()
            written.append(routes)
            return real(files, *routes)

        patched.setattr(envoy_files.EnvoyFiles, "write_routes", once)
        with pytest.raises(PermanentEngineError, match="rejects"):
            door.route(both, (1, 90), (2, 10))
    assert door.router.read(both) == before
    door.route(both, (1, 90), (2, 10))


def test_a_stopped_revision_loses_its_clusters_with_the_next_route(door: Door, pair: str) -> None:
    door.serve(pair, 3)
    door.route(pair, (1, 50), (3, 50))
    door.route(pair, (1, 100))
    door.fleet.stop(pair, 3)
    door.route(pair, (1, 99), (2, 1))
    known = envoy_files.EnvoyFiles(door.workspace.run).clusters()
    assert (pair, 3) not in known
    assert (pair, 2) in known
    assert 3 not in door.telemetry.read(pair, 1000)


def test_a_route_table_survives_its_own_encoding() -> None:
    routes = [
        Route("one", (Share(1, 95), Share(2, 5)), 3),
        Route("x" * 63, (Share(10, 100), Share(12, 0)), 2**40),
        Route("copied", (Share(4, 100),), 5, mirror=Mirror(7, 25)),
        Route("saved", (Share(4, 90), Share(7, 10)), 5, retry_to=4),
        Route("both", (Share(4, 90), Share(7, 10)), 5, Mirror(8, 1), 4),
    ]
    table = json.loads(json.dumps(route_table(routes)))
    assert routes_of(table) == {route.model: route for route in routes}


def test_the_door_is_closed_to_requests_that_are_too_large(door: Door, both: str) -> None:
    with client() as rest:
        large = b"0" * ((64 << 20) + 1)
        try:
            response = rest.post(f"{door.url}/v2/models/{both}/infer", content=large)
        except httpx.WriteError:
            return  # Refused while it was still being sent.
    assert response.status_code == 413


def test_ports_are_given_out_once() -> None:
    ports = [port for _ in range(20) for port in free_ports(5)]
    assert len(set(ports)) == 100
    assert all(18_000 <= port < 32_000 and is_free(port) for port in ports)


def test_ready_is_seen_after_a_restart_on_other_ports(door: Door, model: str) -> None:
    door.serve(model, 1)
    door.route(model, (1, 100))
    door.fleet.stop(model, 1)
    door.fleet.start(model, 1)
    await_state(door.fleet, model, 1, RevisionState.READY)
    door.router.refresh()
    deadline = time.monotonic() + 5
    with client() as rest:
        while door.rest(rest, model).status != 200:
            assert time.monotonic() < deadline
    door.fleet.stop(model, 1)
