"""Streams through the front door: one revision from the first piece to the last."""

from __future__ import annotations

import json
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from canary.ports import RevisionState
from canary.rollout import RolloutPlan, Step
from model_repository.layout import NO_BYTECODE
from pipelines.rollout.controller import Controller
from registry.journal import Journal
from registry.lease import Leases

from .parts import lay_out_stream
from .toys import await_state, client, grpc_client, lay_out, publish, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .toys import Door

pytestmark = pytest.mark.engine
MODEL = "talker"


@pytest.fixture(scope="module")
def talker(door: Door) -> Iterator[str]:
    """Two ready releases, each with a stream."""
    repository = door.workspace.repository
    for release in (1, 2):
        lay_out(repository, MODEL, release)
        lay_out_stream(repository, MODEL, release)
        door.fleet.start(MODEL, release)
    for release in (1, 2):
        await_state(door.fleet, MODEL, release, RevisionState.READY)
    yield MODEL
    for release in door.fleet.running(MODEL):
        door.fleet.stop(MODEL, release)


class Stream:
    """A gRPC stream of `pieces` answers, `pause_ms` apart."""

    def __init__(
        self,
        grpc: Any,
        *,
        pieces: int,
        pause_ms: float,
        session: str = "s",
        model: str = MODEL,
    ) -> None:
        import tritonclient.grpc as grpcclient

        self._grpc = grpc
        self._answers: queue.Queue[Any] = queue.Queue()
        headers = {"x-model": model, "x-session-id": session}
        grpc.start_stream(lambda result, error: self._answers.put((result, error)), headers=headers)
        tensor = grpcclient.InferInput("waveform", [2], "FP32")
        tensor.set_data_from_numpy(np.array([pieces, pause_ms], dtype=np.float32))
        grpc.async_stream_infer(f"{model}.stream", [tensor], enable_empty_final_response=True)

    def next(self) -> str | None:
        """The next piece; None when the stream ended as it should."""
        result, error = self._answers.get(timeout=20)
        assert error is None, error
        last = result.get_response().parameters.get("triton_final_response")
        if last is not None and last.bool_param:
            return None
        return str(result.as_numpy("transcript")[0].decode())

    def rest(self) -> list[str]:
        """Every piece that is left, after which the stream is closed."""
        found = list(iter(self.next, None))
        self._grpc.stop_stream()
        return found


def release_of(piece: str | None) -> int:
    assert piece is not None
    return int(piece.split()[1])


def test_a_stream_stays_with_its_revision_while_routes_change(door: Door, talker: str) -> None:
    door.route(talker, (1, 50), (2, 50))
    with grpc_client(door) as grpc, grpc_client(door) as later:
        stream = Stream(grpc, pieces=30, pause_ms=30)
        first = release_of(stream.next())
        other = 3 - first
        for weight in (90, 40, 100):
            door.route(talker, (first, 100 - weight), (other, weight))
        # Rolled back: all of the traffic goes to the other one now.
        assert release_of(Stream(later, pieces=1, pause_ms=0).next()) == other
        pieces = stream.rest()
    assert pieces == [f"release {first} piece {number}" for number in range(1, 30)]


def test_a_revision_that_stops_ends_its_streams_first(door: Door, talker: str) -> None:
    door.route(talker, (1, 0), (2, 100))
    with grpc_client(door) as grpc:
        stream = Stream(grpc, pieces=40, pause_ms=50)
        assert release_of(stream.next()) == 2
        door.route(talker, (1, 100))
        with ThreadPoolExecutor(1) as pool:
            pieces = pool.submit(stream.rest)
            door.fleet.stop(talker, 2)
            assert len(pieces.result()) == 39
    door.fleet.start(talker, 2)
    await_state(door.fleet, talker, 2, RevisionState.READY)
    door.router.refresh()


def test_a_rollback_lets_streams_end_where_they_began(door: Door, model: str) -> None:
    workspace = door.workspace
    for release in (1, 2):
        publish(workspace, model, release)
        lay_out_stream(workspace.repository, model, release)
        (workspace.repository / f"{model}.stream" / str(release) / NO_BYTECODE).touch()
        sign(workspace, model, release)
    journal = Journal(workspace.journal_url)
    controller = Controller(
        journal,
        Leases(journal),
        door.fleet,
        door.router,
        door.telemetry,
        clock=time.time,
        sleep=time.sleep,
        actor="ann",
    )
    plan = RolloutPlan(steps=(Step(weight=100),), bake_s=0, tick_s=0.1)
    with grpc_client(door) as grpc, grpc_client(door) as later:
        for release in (1, 2):
            result = controller.promote(model, release, plan)
            assert result.outcome == "settled", result.reason
        stream = Stream(grpc, pieces=40, pause_ms=50, model=model)
        assert release_of(stream.next()) == 2
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(stream.rest)
            assert controller.rollback(model).outcome == "rolled-back"
            new = Stream(later, pieces=2, pause_ms=0, model=model).rest()
            pieces = rest.result()
    assert {release_of(piece) for piece in new} == {1}
    assert pieces == [f"release 2 piece {number}" for number in range(1, 40)]
    assert door.fleet.running(model) == (1,)
    door.fleet.stop(model, 1)
    journal.close()


def test_a_session_streams_where_it_asks(door: Door, talker: str) -> None:
    door.route(talker, (1, 50), (2, 50))
    sides = set()
    with client() as rest, grpc_client(door) as grpc:
        for number in range(16):
            session = f"session-{number}"
            side = door.rest(rest, talker, session=session).release
            stream = Stream(grpc, pieces=2, pause_ms=0, session=session)
            assert {release_of(piece) for piece in stream.rest()} == {side}
            assert release_of(generate(door, rest, session)[0]) == side
            sides.add(side)
    assert sides == {1, 2}


def generate(door: Door, rest: Any, session: str, pieces: int = 1) -> list[str]:
    url = f"{door.url}/v2/models/{MODEL}.stream/generate_stream"
    response = rest.post(url, json={"waveform": [pieces, 0]}, headers={"x-session-id": session})
    assert response.status_code == 200, response.text
    lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: "))["transcript"] for line in lines]


def test_generated_pieces_come_as_they_are_made(door: Door, talker: str) -> None:
    door.route(talker, (1, 100))
    url = f"{door.url}/v2/models/{talker}.stream/generate_stream"
    started = time.perf_counter()
    with (
        client() as rest,
        rest.stream("POST", url, json={"waveform": [6, 150]}) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-sluice-release"] == "1"
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        came = [time.perf_counter() - started for _ in lines]
    assert len(came) == 6
    assert came[0] < 0.4
    gaps = np.diff(came)
    assert gaps.min() > 0.08, gaps


def test_a_single_piece_is_generated_whole(door: Door, talker: str) -> None:
    door.route(talker, (1, 100))
    with client() as rest:
        url = f"{door.url}/v2/models/{talker}.stream/generate"
        response = rest.post(url, json={"waveform": [1, 0]})
        assert response.json()["transcript"] == "release 1 piece 0"
        pinned = f"{door.url}/v2/models/{talker}.stream/infer"
        assert rest.post(pinned, json={}).status_code in {403, 404}


def test_only_a_model_with_a_stream_has_its_paths(door: Door, model: str) -> None:
    door.serve(model, 1)
    door.route(model, (1, 100))
    with client() as rest:
        url = f"{door.url}/v2/models/{model}.stream/generate_stream"
        assert rest.post(url, json={"waveform": [1, 0]}).status_code == 404
    door.fleet.stop(model, 1)
