"""The whole path on real engines: register, convert, gate, publish, promote, back."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
import wave
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import psutil
import pytest

from pipelines.assembly import Platform
from registry.workspace import Workspace

from .conftest import GRID, MODEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def waveform(row: dict[str, Any]) -> NDArray[np.float32]:
    with wave.open(str(GRID / "data" / "live" / row["audio_filepath"])) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return (pcm.astype(np.float32) / 32768.0)[None, :]


def clips(count: int) -> list[dict[str, Any]]:
    lines = (GRID / "data" / "live" / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["rate"] == "normal"][:count]


def ask(client: Any, module: Any, samples: NDArray[np.float32], **options: Any) -> Any:
    tensor = module.InferInput("waveform", list(samples.shape), "FP32")
    tensor.set_data_from_numpy(samples)
    return client.infer(MODEL, [tensor], **options)


class Traffic:
    """A steady stream over REST until the block ends; what came back is counted."""

    def __init__(self, address: str, rate: float = 40.0) -> None:
        self.address, self.rate = address, rate
        self.releases: list[int] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _work(self, worker: int) -> None:
        from tritonclient import http

        samples = [waveform(row) for row in clips(10)]
        with http.InferenceServerClient(self.address) as client:
            number = worker * 1000
            while not self._stop.wait(4 / self.rate):
                number += 1
                headers = {"x-session-id": f"s{number}"}
                try:
                    result = ask(client, http, samples[number % 10], headers=headers)
                    self.releases.append(int(result.get_response()["model_version"]))
                except Exception as error:  # noqa: BLE001 - any failure at all is the finding
                    self.failures.append(f"{type(error).__name__}: {error}")


def test_the_same_bytes_are_the_same_version(home: Home) -> None:
    again = home.json("register", MODEL, str(GRID / "models" / "whisper-grid"))
    assert not again["created"]
    assert again["version"] == next(
        entry["body"]["version"]
        for entry in home.history()
        if entry["kind"] == "artifact-registered"
    )


def test_a_second_conversion_does_nothing(home: Home) -> None:
    before = len(home.history())
    again = home.json("convert", MODEL, "-v", "onnx-fp32", "-v", "openvino-int8")
    assert again["made"] == []
    assert {row["variant"] for row in again["variants"]} == {"onnx-fp32", "openvino-int8"}
    assert len(home.history()) == before


def test_the_evidence_of_a_gate_is_kept_and_is_what_was_decided(home: Home) -> None:
    decided = next(e["body"] for e in home.history() if e["kind"] == "gate-decided")
    folder = home.root / ".sluice" / "reports" / decided["report_digest"]
    content = (folder / "report.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == decided["report_digest"]
    answers = json.loads((folder / "answers.json").read_text())
    assert len(answers) >= 400
    assert decided["metrics"]["wer"] <= 0.02


def test_plain_clients_are_answered_by_the_release_over_both_protocols(home: Home) -> None:
    from tritonclient import grpc, http

    address, row = home.front_door(), clips(1)[0]
    with http.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        over_http = ask(client, http, waveform(row))
    with grpc.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        over_grpc = ask(client, grpc, waveform(row))
    assert over_http.get_response()["model_version"] == "1"
    assert over_grpc.get_response().model_version == "1"
    texts = [result.as_numpy("transcript").reshape(-1)[0] for result in (over_http, over_grpc)]
    assert texts[0] == texts[1]


def test_a_better_release_takes_over_under_load_and_nothing_is_lost(home: Home) -> None:
    home.json("gate", MODEL, "-v", "openvino-int8")
    with Traffic(home.front_door()) as traffic:
        promoted = home.json("promote", MODEL, "-v", "openvino-int8")
        time.sleep(0.5)
    assert promoted["rollout"]["outcome"] == "settled"
    assert promoted["release"]["release"] == 2
    assert traffic.failures == []
    assert set(traffic.releases) == {1, 2}
    assert traffic.releases[-1] == 2
    assert home.json("status", MODEL)["models"][0]["live"] == 2


def test_a_round_of_the_drift_watch_says_what_it_saw_and_moves_nothing(home: Home) -> None:
    ran = home.run("drift", "watch", MODEL, "--rounds", "1", "--window", "1h", "--output", "json")
    seen = ran.value
    # There is only the gate's reference yet, which calls nobody.
    assert (ran.code, seen["verdict"]) in {(0, "watch"), (0, "quiet"), (3, "not enough data")}
    assert (seen["finding"], seen["trouble"]) == ("", "")
    assert seen["report"].startswith("run "), "the page is kept in MLflow"
    if home.json("drift", "show", MODEL)["case"] is not None:
        home.json("drift", "clear", MODEL, "--reason", "a test")
    assert home.run("drift", "attribute", MODEL).refusal.endswith("looks")


def test_an_alarm_asks_the_release_before_the_same_and_moves_nothing(home: Home) -> None:
    platform = Platform(Workspace(home.root), actor="a test")
    now = time.time()
    number = len(home.json("drift", "show", MODEL)["ended"]) + 1
    opened = {
        "case": number,
        "severity": "act",
        "columns": ["rms"],
        "reason": "louder",
        "release": 2,
    }
    times = {"since": now - 60, "until": now}
    platform.append(MODEL, "alarm-raised", {**opened, **times, "alpha": 0.01})
    with Traffic(home.front_door()) as traffic:
        ran = home.run("drift", "attribute", MODEL, "--for", "8s", "--output", "json")
    found = ran.value
    # The releases hardly differ, so only how much was seen decides between these two.
    assert (ran.code, found["finding"]) in {(0, "neither"), (3, "not enough")}, ran.err
    assert found["pairs"] >= 20
    assert found["rolled_back_to"] is None
    assert traffic.failures == []
    assert set(traffic.releases) == {2}
    if found["finding"] == "not enough":
        assert found["pairs_more"] > 0
        home.json("drift", "clear", MODEL, "--reason", "a test")
    assert home.json("drift", "show", MODEL)["case"] is None
    status = home.json("status", MODEL)["models"][0]
    assert (status["live"], status["rollout"]) == (2, None)


def test_an_undertrained_checkpoint_is_refused_with_numbers(home: Home) -> None:
    home.json("register", MODEL, str(GRID / "models" / "whisper-grid-undertrained"))
    home.json("convert", MODEL, "-v", "onnx-fp32", "-v", "openvino-int8")
    judged = home.json("gate", MODEL, "-v", "openvino-int8", expect=1)
    failed = {c["name"] for c in judged["report"]["checks"] if c["verdict"] == "fail"}
    assert any("wer" in name for name in failed)
    refused = home.run("promote", MODEL, "-v", "openvino-int8")
    assert refused.code == 2
    assert "verdict fail" in refused.refusal
    assert home.json("status", MODEL)["models"][0]["live"] == 2


def test_a_killed_promotion_is_finished_by_resume(home: Home) -> None:
    with Traffic(home.front_door()) as traffic:
        process = home.start("promote", MODEL, "--release", "1")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if home.history()[-1]["kind"] in {"step-entered", "decided"}:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        process.communicate()
        time.sleep(0.5)
        outcome = home.json("resume", MODEL)
        again = home.json("resume", MODEL)
    assert outcome["outcome"] == "settled"
    assert again["outcome"] == "idle"
    assert traffic.failures == []
    assert home.json("status", MODEL)["models"][0]["live"] == 1


def test_rollback_by_hand_goes_to_the_release_asked_for(home: Home) -> None:
    with Traffic(home.front_door()) as traffic:
        outcome = home.json("rollback", MODEL, "--to", "2", "--reason", "a test")
        time.sleep(0.5)
    assert outcome["outcome"] == "rolled-back"
    assert traffic.failures == []
    assert traffic.releases[-1] == 2


def test_the_flows_are_on_prefects_page(home: Home) -> None:
    import httpx

    address = home.json("status")["addresses"]["prefect"]
    found = httpx.post(f"{address}/api/flow_runs/filter", json={}, timeout=10).json()
    names = {run["name"] for run in found if run["state_type"] == "COMPLETED"}
    assert f"register-{MODEL}" in names
    assert f"convert-{MODEL}" in names
    assert f"gate-{MODEL}-openvino-int8" in names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("register", "no-such-model", "."), "no model 'no-such-model'"),
        (("register", MODEL, "/nowhere"), "/nowhere"),
        (("convert", MODEL, "-v", "tensorrt-fp4"), "tensorrt-fp4"),
        (("gate", MODEL, "-v", "onnx-int8"), "has no variant 'onnx-int8'"),
        (("promote", MODEL, "--release", "77"), "77"),
        (("rollback", MODEL, "--to", "77"), "77"),
        (("history", "Bad_Name"), "is not a model name"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    home: Home, arguments: tuple[str, ...], says: str
) -> None:
    before = home.history()
    ran = home.run(*arguments)
    assert ran.code == 2
    assert says in ran.refusal
    assert home.history() == before


def test_down_leaves_nothing_running_and_up_serves_again(home: Home) -> None:
    home.down()
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["environ", "cmdline"])
        if str(home.root) in str((process.info["environ"] or {}).get("SLUICE_WORKSPACE", ""))
    ]
    assert left == []
    before = home.history()
    assert "sluice up" in home.run("promote", MODEL, "--release", "1").refusal
    assert home.history() == before
    home.up()
    with Traffic(home.front_door()) as traffic:
        time.sleep(1.0)
    assert traffic.failures == []
    assert set(traffic.releases) == {2}


def test_the_history_is_a_chain(home: Home) -> None:
    entries = home.history()
    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    assert {"artifact-registered", "gate-decided", "rollout-started", "rollback-requested"} <= {
        entry["kind"] for entry in entries
    }
