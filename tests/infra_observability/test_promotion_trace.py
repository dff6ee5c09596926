"""One trace shows a promotion: command, stages, and each decision of the journal as an event."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.http import trace_exporter

from cli.drift_rounds import _tell
from cli.main import main
from cli.output import Output
from infra.observability import tracing
from infra.observability.told_journal import ToldJournal
from infra.observability.watching import observed
from pipelines.stages import Stages, announce
from registry.errors import UserError
from registry.spans import Kept, Span, detached, is_watched, span, watching
from registry.workspace import Workspace
from tests.rollout.stage import MODEL, QUICK, Stage

from .collector import Collector, collecting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "whsec_c2VjcmV0"  # noqa: S105 - made for this test


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "TRACEPARENT", "SLUICE_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("infra.observability.watching._is_json", False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as opened:
        yield opened


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(ToldJournal(f"sqlite:///{tmp_path / 'journal.db'}"))


def workspace(folder: Path, text: str = "") -> Workspace:
    (folder / "sluice.toml").write_text(text)
    return Workspace(folder)


def promote(stage: Stage) -> str:
    """What a command, its flow and its stages do, with a real controller in virtual time."""
    stages = Stages()
    with span("flow promote", flow="promote"):
        announce("Rolling out release 1")
        with stages.stage("rollout"):
            return stage.controller().promote(MODEL, 1, QUICK).outcome.value


def test_one_trace_shows_a_promotion(
    collector: Collector, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    told = workspace(tmp_path, f'[tracing]\nendpoint = "{collector.endpoint}"\n')
    with observed("promote", told):
        assert promote(stage) == "settled"
    assert set(collector.paths) == {"/v1/traces"}
    command, flow, rollout = (
        collector.named(name) for name in ("sluice promote", "flow promote", "rollout")
    )
    # It goes on with the trace of the CI job that ran the command.
    assert {one.trace for one in collector.spans} == {"ab" * 16}
    assert (command.parent, flow.parent, rollout.parent) == ("cd" * 8, command.id, flow.id)
    kinds = [name for name, _ in rollout.events]
    assert {"rollout-started", "decided", "rollout-ended"} <= set(kinds)
    assert [kind for kind in kinds if kind != "told"] == [
        entry.kind for entry in stage.journal.read(MODEL)
    ]
    decisions = {facts["decision"] for name, facts in rollout.events if name == "decided"}
    assert decisions >= {"hold", "settle"}
    assert command.service == "sluice"
    assert not any(one.failed for one in collector.spans)


def test_a_span_that_raises_tells_the_kind_of_error_and_not_its_words(
    collector: Collector, tmp_path: Path
) -> None:
    told = workspace(tmp_path, f'[tracing]\nendpoint = "{collector.endpoint}"\n')
    with pytest.raises(UserError), observed("gate", told), Stages().stage("judge"):
        raise UserError(f"the secret is {SECRET}")
    assert [one.failed for one in collector.spans] == [True, True]
    assert all(SECRET.encode() not in body for body in collector.bodies)
    assert all(b"UserError" in body for body in collector.bodies)


def refusing() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://user:{SECRET}@127.0.0.1:{free.getsockname()[1]}"


def test_a_collector_that_is_away_costs_one_line(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    told = workspace(tmp_path, f'[tracing]\nendpoint = "{refusing()}"\n')
    with observed("promote", told):
        assert promote(stage) == "settled"
    printed = capsys.readouterr().err
    assert printed == (
        "tracing: 3 spans could not be sent to 127.0.0.1; the work itself is not touched by that\n"
    )
    assert not caplog.records


def test_a_collector_that_never_answers_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracing, "CLOSING_S", 0.3)
    monkeypatch.setattr(tracing, "SEND_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told = workspace(tmp_path, f'[tracing]\nendpoint = "{address}"\n')
        began = time.monotonic()
        with observed("status", told):
            pass
        assert time.monotonic() - began < 2
    assert capsys.readouterr().err.startswith("tracing: 1 spans could not be sent")


def test_nothing_leaves_unless_an_endpoint_is_set(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[object] = []
    is_on = True

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on and event in {"socket.connect", "socket.getaddrinfo"}:
            connected.append(arguments)

    sys.addaudithook(seen)
    monkeypatch.setattr(trace_exporter.OTLPSpanExporter, "export", connected.append)
    try:
        with observed("promote", workspace(tmp_path)):
            assert promote(stage) == "settled"
    finally:
        is_on = False
    assert connected == []


def test_logs_are_one_json_object_a_line_with_the_ids_of_the_trace(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'[logs]\nformat = "json"\n[notifications]\nwebhook = "https://x.test/{SECRET}"\n'
    told = workspace(tmp_path, text)
    with observed("promote", told):
        assert promote(stage) == "settled"
    printed = capsys.readouterr().err
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {"time", "level", "event", "trace_id", "span_id"} <= set.intersection(*map(set, lines))
    assert len({line["trace_id"] for line in lines}) == 1
    decided = [line for line in lines if line["event"] == "decided"]
    assert {line["decision"] for line in decided} >= {"hold", "settle"}
    assert {(line["model"], line["level"]) for line in decided} == {(MODEL, "info")}
    assert all(line["time"].endswith("Z") for line in lines)
    assert "Rolling out release 1" in {line.get("message") for line in lines}
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["span"] == "sluice promote"
    assert SECRET not in printed


def test_a_loop_without_an_end_makes_a_trace_of_each_round(
    collector: Collector, tmp_path: Path
) -> None:
    told = workspace(tmp_path, f'[tracing]\nendpoint = "{collector.endpoint}"\n')
    with observed("drift", told):
        for _ in range(2):
            with detached(), span("flow drift_watch"), Stages().stage("look"):
                pass
    rounds = [one for one in collector.spans if one.name == "flow drift_watch"]
    assert [one.parent for one in rounds] == ["", ""]
    assert len({one.trace for one in collector.spans}) == 3


def test_what_a_worker_runs_is_the_trace_of_its_flow_run(
    collector: Collector, tmp_path: Path
) -> None:
    """No command of ours began the process: the platform switches on what its workspace says."""
    workspace(tmp_path, f'[tracing]\nendpoint = "{collector.endpoint}"\n')
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    assert [(one.name, one.trace, one.parent) for one in collector.spans] == [
        (name, RUN.replace("-", ""), RUN.replace("-", "")[:16]) for name in ("look", "report")
    ]


RUN = "0195c3a0-1111-7222-8333-444455556666"
WORKER = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID
from pipelines.assembly import Platform
from pipelines.stages import Stages
from prefect.context import FlowRunContext
from registry.workspace import Workspace
Platform(Workspace(Path(sys.argv[1])))
run = SimpleNamespace(id=UUID("{RUN}"))
with FlowRunContext.model_construct(flow_run=run):
    stages = Stages()
    for name in ("look", "report"):
        with stages.stage(name):
            pass
"""


def test_a_command_that_fails_ends_with_one_line_in_the_form_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", ["sluice", "history", "speech"])
    for form in ("", "json"):
        monkeypatch.setenv("SLUICE_LOG", form)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        words = capsys.readouterr().err.splitlines()
        if form:
            failed = json.loads(words[-1])
            assert (failed["event"], failed["level"]) == ("command-failed", "error")
            assert "sluice init" in failed["error"]
            assert all(json.loads(line)["time"] for line in words)
        else:
            (line,) = words
            assert line.startswith("error: ")


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "http://", "ftp://x", f"http://u:{SECRET}@x", "http://x:port"]
)
def test_a_wrong_endpoint_is_refused_and_not_repeated(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(UserError, match="must be http://HOST:PORT") as refused:
        _ = workspace(tmp_path, f'[tracing]\nendpoint = "{endpoint}"\n').settings
    assert SECRET not in str(refused.value)


def test_a_file_that_cannot_be_read_is_not_its_business(tmp_path: Path) -> None:
    with observed("rollback", workspace(tmp_path, "[tracing\n")):
        assert not is_watched()


def test_a_span_of_another_process_comes_back_whole() -> None:
    kept = Kept()
    with watching(kept), span("export", parent=f"00-{'1' * 32}-{'2' * 16}-01", variant="x"):
        pass
    (found,) = kept.spans
    assert (found.trace_id, found.parent_id) == ("1" * 32, "2" * 16)
    assert Span.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_round_of_the_drift_watch_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = dict.fromkeys(("reason", "case", "calls", "finding", "copies", "trouble", "page"), "")
    with observed("drift", workspace(tmp_path, '[logs]\nformat = "json"\n')):
        _tell({**result, "verdict": "quiet", "finding": "neither"}, Output.JSON)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["verdict"] == "quiet"
    first = json.loads(printed.err.splitlines()[0])
    assert (first["event"], first["verdict"], first["finding"]) == (
        *("drift-round", "quiet"),
        "neither",
    )
