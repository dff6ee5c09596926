"""Sessions, mirrors and second answers, by what a real front door counts."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from canary.ports import ArmCounters, Mirror, Route, Share
from drift.records import read_records
from infra.local import session_log
from infra.local.envoy_files import EnvoyFiles
from infra.local.session_log import live_log
from registry.errors import RetryableEngineError

from .toys import BROKEN, REFUSED, Door, client, grpc_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

MODEL = "told"


@pytest.fixture(scope="module")
def told(door: Door) -> Iterator[str]:
    """A model with two ready releases."""
    door.serve(MODEL, 1, 2)
    yield MODEL
    for release in (1, 2):
        door.fleet.stop(MODEL, release)


def write(door: Door, model: str, *weights: int, **more: Any) -> None:
    """A new epoch of releases 1 and 2."""
    shares = tuple(Share(release, weight) for release, weight in enumerate(weights, start=1))
    door.router.write(Route(model, (Share(1, 100),), 1))
    door.router.write(Route(model, shares, 1, **more))


def sessions(door: Door, model: str, slow_ms: int = 100) -> dict[int, tuple[int, int, int]]:
    time.sleep(0.3)
    arms = door.telemetry.read(model, slow_ms)
    return {
        release: (arm.sessions, arm.sessions_failed, arm.sessions_slow)
        for release, arm in arms.items()
    }


def test_distinct_sessions_are_told_by_release_and_outcome(door: Door, told: str) -> None:
    from tritonclient.utils import InferenceServerException

    write(door, told, 50, 50)
    expected = {1: [0, 0, 0], 2: [0, 0, 0]}
    with client() as rest, grpc_client(door) as grpc:
        for number in range(24):
            session = f"caller-{number}"
            side = door.rest(rest, told, session=session).release
            bad, late = number % 3 == 0, number % 4 == 0
            for _ in range(2):
                if bad:
                    door.rest(rest, told, session=session, outcome=REFUSED)
                if bad and number % 2:
                    with pytest.raises(InferenceServerException):
                        door.grpc(grpc, told, session=session, outcome=BROKEN)
                if late:
                    door.grpc(grpc, told, session=session, sleep_ms=160)
            for place, counts in enumerate((1, int(bad), int(late))):
                expected[side][place] += counts
        for _ in range(6):
            side = door.rest(rest, told).release
            expected[side][0] += 1
        grpc.is_model_ready(told)
        rest.get(f"{door.url}/v2/models/{told}/ready")
    seen = sessions(door, told)
    for release, (count, failed, slow) in expected.items():
        assert seen[release][:2] == (count, failed)
        # A busy machine may make a quick answer slow, never the other way round.
        assert slow <= seen[release][2] <= slow + 4


def test_an_epoch_begins_with_new_weights_and_leaves_out_who_failed(door: Door, told: str) -> None:
    write(door, told, 50, 50)
    with client() as rest:
        for number in range(10):
            door.rest(rest, told, session=f"s{number}", outcome=BROKEN if number < 4 else 0)
        assert sum(seen[0] for seen in sessions(door, told).values()) == 10
        door.route(told, (1, 30), (2, 70))
        assert sessions(door, told) == {1: (0, 0, 0), 2: (0, 0, 0)}
        for number in range(12):
            door.rest(rest, told, session=f"s{number}")
        seen = sessions(door, told)
        assert sum(arm[0] for arm in seen.values()) == 8
        assert sum(arm[1] for arm in seen.values()) == 0
        # Another comparison: whoever failed in the former one counts again.
        write(door, told, 50, 50)
        for number in range(12):
            door.rest(rest, told, session=f"s{number}")
        assert sum(arm[0] for arm in sessions(door, told).values()) == 12


def test_nothing_is_written_while_nothing_is_compared(door: Door, told: str) -> None:
    door.route(told, (1, 100))
    lines = live_log(EnvoyFiles(door.workspace.run).sessions)
    before = lines.stat().st_size
    with client() as rest:
        for number in range(5):
            door.rest(rest, told, session=f"s{number}")
    assert sessions(door, told)[1] == (0, 0, 0)
    assert lines.stat().st_size == before


def test_no_session_is_written_in_the_clear(door: Door, told: str) -> None:
    write(door, told, 50, 50)
    with client() as rest:
        door.rest(rest, told, session="alice@example.org")
    assert sum(arm[0] for arm in sessions(door, told).values()) == 1
    text = live_log(EnvoyFiles(door.workspace.run).sessions).read_text()
    assert "alice" not in text
    assert len(json.loads(text.splitlines()[-1])["session"]) == 16


def test_lines_survive_many_files_and_readers(
    door: Door, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "PIECE_BYTES", 4000)
    write(door, told, 50, 50)
    followed = door.telemetry
    with client() as rest:
        for number in range(200):
            door.rest(rest, told, session=f"s{number % 120}")
            if number % 7 == 0:
                followed.read(told, 100)
            if number % 31 == 0:
                door.telemetry.read(told, 100)
    time.sleep(0.3)
    seen = [
        {release: arm.sessions for release, arm in reader.read(told, 100).items()}
        for reader in (followed, door.telemetry)
    ]
    assert seen[0] == seen[1]
    assert sum(seen[0].values()) == 120
    folder = EnvoyFiles(door.workspace.run).sessions
    assert sum(path.stat().st_size for path in folder.glob("*.log")) < 12_000


def test_an_epoch_of_which_lines_were_lost_is_not_told(door: Door, told: str) -> None:
    write(door, told, 50, 50)
    with client() as rest:
        door.rest(rest, told, session="one")
        assert sum(arm[0] for arm in sessions(door, told).values()) == 1
        live_log(EnvoyFiles(door.workspace.run).sessions).unlink()
        door.rest(rest, told, session="two")
        assert sum(arm[0] for arm in sessions(door, told).values()) == 0
        door.rest(rest, told, session="three")
        assert sum(arm[0] for arm in sessions(door, told).values()) == 0
        time.sleep(1)
        write(door, told, 50, 50)
        for number in range(5):
            door.rest(rest, told, session=f"s{number}")
        assert sum(arm[0] for arm in sessions(door, told).values()) == 5


def test_sessions_go_on_after_envoy_was_killed(door: Door, told: str) -> None:
    write(door, told, 50, 50)
    with client() as rest:
        for number in range(6):
            door.rest(rest, told, session=f"s{number}")
    time.sleep(0.3)
    os.kill(door.supervisor.states()["envoy"].pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        try:
            if door.router.read(told) is not None:
                break
        except RetryableEngineError:
            time.sleep(0.05)
    with client() as rest:
        for number in range(9):
            door.rest(rest, told, session=f"s{number}")
    assert sum(arm[0] for arm in sessions(door, told).values()) == 9


def test_a_mirror_answers_nobody_and_counts_nowhere(door: Door, told: str) -> None:
    write(door, told, 100, mirror=Mirror(2, 100))
    assert door.router.read(told) == Route(told, (Share(1, 100),), 1, mirror=Mirror(2, 100))
    before = door.telemetry.read(told, 100)
    asked = statistic(door, told, "shadow")
    with client() as rest, grpc_client(door) as grpc:
        for _ in range(10):
            assert door.rest(rest, told).release == 1
            assert door.grpc(grpc, told).startswith("release 1")
    time.sleep(0.3)
    assert statistic(door, told, "shadow") - asked == 20
    after = door.telemetry.read(told, 100)
    assert after[2] == before.get(2, ArmCounters())
    assert after[1].requests - before[1].requests == 20


def test_a_copy_carries_its_mark_and_the_requests_own_names(
    door: Door, model: str, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    door.serve(model, 1, 2, diary=str(diary))
    write(door, model, 100, mirror=Mirror(2, 100))
    headers = {"x-session-id": "mine", "x-sluice-shadow": "1"}
    body = {"inputs": [{"name": "waveform", "datatype": "FP32", "shape": [1, 1], "data": [0]}]}
    with client() as rest, grpc_client(door) as grpc:
        for number in range(3):
            own = headers | {"x-request-id": f"request-{number}"}
            url = f"{door.url}/v2/models/{model}/infer"
            assert rest.post(url, json=body, headers=own).headers["x-sluice-release"] == "1"
        door.grpc(grpc, model, session="mine")
    time.sleep(0.3)
    entries = [
        (int(release), {name.lower(): value for name, value in parameters.items()})
        for release, parameters in map(json.loads, diary.read_text().splitlines())
        if parameters  # A warm-up has none.
    ]
    by_release = {
        release: {entry["x-request-id"]: entry for number, entry in entries if number == release}
        for release in (1, 2)
    }
    assert len(by_release[1]) == 4
    assert by_release[1].keys() == by_release[2].keys()
    assert {f"request-{number}" for number in range(3)} < by_release[1].keys()
    assert {entry["x-session-id"] for _, entry in entries} == {"mine"}
    assert {entry["x-sluice-shadow"] for entry in by_release[1].values()} == {"0"}
    assert {entry["x-sluice-shadow"] for entry in by_release[2].values()} == {"1"}
    for release in (1, 2):
        door.fleet.stop(model, release)


def test_what_callers_say_of_themselves_is_not_recorded(door: Door, model: str) -> None:
    door.serve(model, 1, 2, recorded=True)
    write(door, model, 100, mirror=Mirror(2, 100))
    lies = {"x-sluice-shadow": "1", "x-sluice-probe": True}
    body = {
        "inputs": [{"name": "waveform", "datatype": "FP32", "shape": [1, 1], "data": [0]}],
        "parameters": lies,
    }
    base = f"{door.url}/v2/models/{model}"
    with client() as rest:
        for name, url in (("sent", f"{base}/infer"), ("named", f"{base}/versions/1/infer")):
            headers = {"x-request-id": name, "x-sluice-shadow": "pinned"}
            assert rest.post(url, json=body, headers=headers).status_code == 200
        assert rest.post(f"{base}/generate", json={"waveform": [0.0]}).status_code == 200
    time.sleep(1.0)
    rows = read_records(door.workspace.predictions, model, since=0, until=1e11, copies=True)
    said = sorted(
        (row["release"], row["request"], row["shadow"], row["pinned"])
        for row in rows.table.to_pylist()
    )
    assert said == [(1, "named", False, True), (1, "sent", False, False), (2, "sent", True, False)]
    (pair,) = door.telemetry.pairs(model, 1, 2, 0.0)
    assert pair.baseline.text_hash != pair.candidate.text_hash != ""
    # A server and the program's interpreter, far from a whole machine.
    assert 10e6 < door.fleet.status(model, 2).memory_bytes < 2e9
    for release in (1, 2):
        door.fleet.stop(model, release)


def statistic(door: Door, model: str, use: str) -> int:
    from infra.local.envoy_admin import EnvoyAdmin

    with EnvoyAdmin.connected(door.workspace.run) as admin:
        pattern = f"^cluster.{model}/r2/(http|grpc)/{use}.upstream_rq_completed$"
        return sum(row.get("value", 0) for row in admin.statistics(pattern))


def test_what_the_candidate_fails_on_the_baseline_answers(door: Door, model: str) -> None:
    door.serve(model, 1, 2)
    write(door, model, 50, 50, retry_to=1)
    assert door.router.read(model) == Route(model, (Share(1, 50), Share(2, 50)), 1, retry_to=1)
    names = [f"s{number}" for number in range(40)]
    with client() as rest, grpc_client(door) as grpc:
        sides = {name: door.rest(rest, model, session=name).release for name in names}
        of_candidate = [name for name, side in sides.items() if side == 2]
        assert 0 < len(of_candidate) < 40
        door.supervisor.stop(f"revision-{model}-r2")
        time.sleep(0.3)
        before = door.telemetry.read(model, 100)
        for name in names:
            one = door.rest(rest, model, session=name)
            assert (one.status, one.release) == (200, 1)
            assert one.text == f"release 1 {name}"
            assert door.grpc(grpc, model, session=name) == f"release 1 {name}"
    time.sleep(0.3)
    after = door.telemetry.read(model, 100)
    assert after[2].errors - before[2].errors == 2 * len(of_candidate)
    assert after[2].requests - before[2].requests == 2 * len(of_candidate)
    assert after[1].requests - before[1].requests == 2 * (40 - len(of_candidate))
    assert after[1].errors == 0
    assert (after[1].sessions_failed, after[2].sessions_failed) == (0, len(of_candidate))
    for release in (1, 2):
        door.fleet.stop(model, release)


def test_the_baselines_own_failures_are_not_answered_again(door: Door, told: str) -> None:
    write(door, told, 50, 50, retry_to=1)
    before = door.telemetry.read(told, 100)
    with client() as rest:
        outcomes = [door.rest(rest, told, outcome=BROKEN) for _ in range(12)]
    assert {one.status for one in outcomes} == {500}
    time.sleep(0.3)
    after = door.telemetry.read(told, 100)
    for release in (1, 2):
        gained = after[release].requests - before[release].requests
        assert after[release].errors - before[release].errors == gained
    assert sum(after[release].requests - before[release].requests for release in (1, 2)) == 12
