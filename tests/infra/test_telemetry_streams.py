"""Streams while releases are compared: they keep their release, and each is one answer."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from canary.ports import Mirror, RevisionState, Route, Share

from .parts import lay_out_stream
from .test_streams import MODEL, Stream, release_of
from .toys import await_state, grpc_client, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .toys import Door

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def talker(door: Door) -> Iterator[str]:
    """Two ready releases, each with a stream."""
    for release in (1, 2):
        lay_out(door.workspace.repository, MODEL, release)
        lay_out_stream(door.workspace.repository, MODEL, release)
        door.fleet.start(MODEL, release)
    for release in (1, 2):
        await_state(door.fleet, MODEL, release, RevisionState.READY)
    yield MODEL
    for release in door.fleet.running(MODEL):
        door.fleet.stop(MODEL, release)


def write(door: Door, model: str, *weights: int) -> None:
    shares = tuple(Share(release, weight) for release, weight in enumerate(weights, 1) if weight)
    two = len(shares) > 1
    mirror, again = (Mirror(2, 100), 1) if two else (None, None)
    door.router.write(Route(model, shares, 1, mirror, again))


def test_open_streams_keep_their_release_through_new_weights_and_the_way_back(
    door: Door, talker: str
) -> None:
    write(door, talker, 60, 40)
    names = [f"speaker-{number}" for number in range(8)]
    with ExitStack() as opened:
        streams = {
            name: Stream(
                opened.enter_context(grpc_client(door)), pieces=40, pause_ms=40, session=name
            )
            for name in names
        }
        sides = {name: release_of(stream.next()) for name, stream in streams.items()}
        assert set(sides.values()) == {1, 2}
        for weights in ((40, 60), (1, 99), (90, 10), (100, 0)):
            write(door, talker, *weights)
            time.sleep(0.1)
        for name, stream in streams.items():
            expected = [f"release {sides[name]} piece {number}" for number in range(1, 40)]
            assert stream.rest() == expected
        late = Stream(opened.enter_context(grpc_client(door)), pieces=1, pause_ms=0, session="late")
        assert [release_of(piece) for piece in late.rest()] == [1]


def test_a_stream_is_one_answer_and_is_never_copied(door: Door, talker: str) -> None:
    write(door, talker, 100, 0)
    before = door.telemetry.read(talker, 100)
    write(door, talker, 50, 50)
    sides = []
    for number in range(6):
        with grpc_client(door) as grpc:
            stream = Stream(grpc, pieces=3, pause_ms=0, session=f"speaker-{number}")
            (side,) = {release_of(piece) for piece in stream.rest()}
            sides.append(side)
    time.sleep(0.3)
    after = door.telemetry.read(talker, 100)
    for release in (1, 2):
        assert after[release].sessions == sides.count(release)
        assert after[release].sessions_failed == 0
        gained = after[release].requests - before[release].requests
        assert gained == sides.count(release)
