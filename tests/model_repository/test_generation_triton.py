"""Toy variants in a real Triton: whole answers, streams, cancellation, bounds and failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow.dataset as ds
import pytest
from tritonclient.utils import InferenceServerException

from . import generation_world as world

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]

HERE = Path(__file__).resolve().parent
toys = SimpleNamespace(NAN="\N{BIOHAZARD SIGN}", OUTSIDE="\N{SKULL AND CROSSBONES}")

ANSWERS = {"llm": "completion", "translation": "translation"}
TEXTS = ["hello", "bin blue", "place red at f two now", "a", "again again soon", "é ü", "now now"]
MOST_TOKENS = 60
"""What the toy llm writes at most, its end included."""
LONG = "set white with " * 15
"""More than a prompt's columns that are computed at once."""
ENDLESS = {"max_positions": 4900, "max_new_tokens": 4800, "bad_tokens": [256, 257], "stop": []}
"""Rules of an llm that never ends by itself: answers of a second or more."""


@pytest.fixture(scope="module")
def variants(shared: Path) -> Path:
    return Path(world.toys(shared))


def serve(folder: Path, variant: Path, kind: str, **values: Any) -> Any:
    predictions = values.pop("predictions", None)
    root = world.release(folder, variant, kind, **values)
    log = folder / "triton.log"
    return world.serving(root, log, ANSWERS[kind], predictions=predictions)


@pytest.fixture(scope="module")
def logged(variants: Path, tmp_path_factory: Any) -> Iterator[tuple[Any, Path]]:
    """An llm with a prediction log, shared by the tests that only ask."""
    folder = tmp_path_factory.mktemp("llm")
    predictions = folder / "predictions"
    with serve(folder, variants / "llm", "llm", predictions=predictions) as server:
        yield server, predictions


@pytest.fixture(scope="module")
def llm(logged: tuple[Any, Path]) -> Any:
    return logged[0]


@pytest.fixture(scope="module")
def endless(variants: Path, tmp_path_factory: Any) -> Iterator[Any]:
    """An llm whose answers are long; three are computed at once and two wait."""
    folder = tmp_path_factory.mktemp("endless")
    bounds = {"max_live": 3, "max_waiting": 2}
    with serve(folder, variants / "llm", "llm", changes=ENDLESS, **bounds) as server:
        yield server


@pytest.mark.parametrize("name", ["llm", "translation", "llm-openvino", "translation-openvino"])
def test_answers_are_those_of_the_plain_loop(variants: Path, tmp_path: Path, name: str) -> None:
    kind = name.removesuffix("-openvino")
    texts = [*TEXTS, LONG] if kind == "llm" else TEXTS
    plain = world.plain_answers(variants / kind, [(text, 60) for text in texts])
    assert len({text for text, _, _ in plain}) >= 5, "the toy says different things"
    with serve(tmp_path, variants / name, kind) as server:
        for protocol in ("grpc", "http"):
            for text, (said, tokens, score) in zip(texts, plain, strict=True):
                (found,) = server.ask(text.encode(), protocol=protocol)
                assert found[ANSWERS[kind]].decode() == said
                assert found["token_count"] == len(tokens)
                assert found["average_log_probability"] == pytest.approx(score, abs=1e-3)
        together = server.ask(*(text.encode() for text in texts))
        assert [one[ANSWERS[kind]].decode() for one in together] == [one[0] for one in plain]
        with ThreadPoolExecutor(16) as pool:
            many = list(pool.map(server.text, [text.encode() for text in texts * 6]))
        assert many == [one[0] for one in plain] * 6
        for text, (said, _, _) in zip(texts, plain, strict=True):
            pieces = server.stream(text.encode()).wait()
            assert pieces[-1].text == said == "".join(piece.delta for piece in pieces)


def test_a_stream_is_the_answer_in_pieces(endless: Any) -> None:
    stream = endless.stream(b"hello", parameters={"max_tokens": 1500})
    pieces = stream.wait()
    assert not stream.error
    assert len(pieces) > 5
    assert [piece.finished for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    said = ""
    for piece in pieces:
        said += piece.delta
        assert piece.text == said
        assert "\N{REPLACEMENT CHARACTER}" not in piece.delta[-1:]
        assert piece.signals["average_log_probability"] < 0
        assert piece.signals["compression_ratio"] > 0
    counts = [int(piece.signals["token_count"]) for piece in pieces]
    assert counts == sorted(counts)
    assert counts[0] < 300
    assert counts[-1] == 1500
    assert said == endless.text(b"hello", parameters={"max_tokens": 1500})
    first, last = pieces[0].at - stream.started, pieces[-1].at - stream.started
    assert first < last / 2, "the first piece comes long before the last is computed"


def test_streams_interleave_and_a_short_answer_overtakes_a_long_one(endless: Any) -> None:
    one, other = (endless.stream(text, parameters={"max_tokens": 2500}) for text in (b"a", b"b"))
    one.wait(1)
    other.wait(1)
    assert endless.text(b"c", parameters={"max_tokens": 5})
    assert not one.ended.is_set()
    assert not other.ended.is_set()
    first, second = ([piece.at for piece in stream.wait()] for stream in (one, other))
    assert first[0] < second[-1]
    assert second[0] < first[-1]
    between = [at for at in first if second[0] < at < second[-1]]
    assert len(between) > 3, "pieces of both come in turn"
    assert one.pieces[-1].text != other.pieces[-1].text


def test_a_cancelled_stream_costs_no_more_tokens(endless: Any) -> None:
    before = endless.metric("cancelled_total")
    stream = endless.stream(b"hello")
    stream.wait(2)
    stream.cancel()
    assert endless.settled("cancelled_total", before + 1)
    assert endless.settled("live", 0)
    stands(endless)
    assert endless.text(b"a", parameters={"max_tokens": 3})


def test_a_cancelled_unary_request_costs_no_more_tokens(endless: Any) -> None:
    before, tokens = endless.metric("cancelled_total"), endless.metric("tokens_total")
    errors: list[Any] = []
    call = endless.begin(b"hello", lambda result, error: errors.append(error or result))
    deadline = time.monotonic() + 10
    while endless.metric("tokens_total") == tokens:
        assert time.monotonic() < deadline
    call.cancel()
    assert endless.settled("cancelled_total", before + 1)
    assert endless.settled("live", 0)
    stands(endless)
    assert "ancelled" in str(errors[0])


def stands(server: Any) -> None:
    """The engine does nothing any more: what it computed stays where it is."""
    steps = server.metric("steps_total")
    time.sleep(0.6)
    assert server.metric("steps_total") == steps


def test_beyond_its_bounds_a_model_refuses_and_says_so(endless: Any) -> None:
    streams = [endless.stream(b"hello") for _ in range(5)]
    assert endless.settled("live", 3)
    assert endless.settled("waiting", 2)
    for refused in (endless.error(b"x"), endless.error(b"x", protocol="http")):
        assert "this model is busy: 3 requests are being answered and 2 wait" in refused
        assert "UNAVAILABLE" in refused or "503" in refused
    stream = endless.stream(b"x")
    stream.wait()
    assert "busy" in stream.error
    for stream in streams:
        stream.cancel()
    assert endless.settled("live", 0)
    assert endless.settled("waiting", 0)
    assert endless.text(b"a", parameters={"max_tokens": 3})


def test_a_client_that_does_not_read_holds_nobody_up(endless: Any) -> None:
    slow = endless.stream(b"hello", reads=False, parameters={"max_tokens": 1000})
    assert endless.text(b"a", parameters={"max_tokens": 3})
    assert endless.settled("live", 0)
    slow.reads.set()
    assert "".join(piece.delta for piece in slow.wait()) == slow.pieces[-1].text
    assert slow.pieces[-1].signals["token_count"] == 1000


@pytest.mark.parametrize("most", [1, 7, 60])
def test_max_tokens_is_the_most_there_will_be(llm: Any, most: int) -> None:
    (found,) = llm.ask(b"bin blue", parameters={"max_tokens": most})
    assert found["token_count"] == most
    (streamed,) = llm.stream(b"bin blue", parameters={"max_tokens": most}).wait()[-1:]
    assert streamed.text == found["completion"].decode()


def test_a_stream_goes_over_http_too(llm: Any) -> None:
    asked = {"text": "hello", "parameters": {"max_tokens": 9}}
    url = f"http://{llm.url}/v2/models/toy.stream/generate_stream"
    with httpx.stream("POST", url, json=asked, timeout=20) as response:
        lines = [line for line in response.iter_lines() if line]
    assert len(lines) >= 1
    assert '"finished":true' in lines[-1]


REFUSALS = [
    (b"", {}, "text is empty"),
    (b"  \n", {}, "text is empty"),
    (b"abc\xff", {}, "not UTF-8 at byte 3"),
    (b"x" * 390, {}, "tokens, this model takes at most 399"),
    (b"x" * 10**6, {}, "1000000 bytes, far more"),
    (b"a <|end|>", {}, "'<|end|>', a control word"),
    (b"a", {"max_tokens": 0}, "max_tokens is 0; give an integer from 1 to 60"),
    (b"a", {"max_tokens": 61}, "max_tokens is 61; give an integer from 1 to 60"),
    (b"a", {"max_tokens": True}, "max_tokens is True"),
    (b"a", {"max_tokens": "many"}, "max_tokens is 'many'"),
    (b"x" * 370, {"max_tokens": 50}, "max_tokens is 50, after a text of"),
]


@pytest.mark.parametrize(("text", "parameters", "reason"), REFUSALS)
def test_bad_questions_are_refused_as_such(
    llm: Any, text: bytes, parameters: dict[str, Any], reason: str
) -> None:
    by_grpc = llm.error(text, parameters=parameters)
    assert by_grpc.startswith("StatusCode.INVALID_ARGUMENT: ")
    assert reason in by_grpc
    by_http = llm.error(text, parameters=parameters, protocol="http")
    assert by_http.startswith("400: ")
    assert reason in by_http
    stream = llm.stream(text, parameters=parameters)
    assert not stream.wait()
    assert reason in stream.error


def test_the_server_says_which_device_answers(llm: Any) -> None:
    lines = httpx.get(f"http://127.0.0.1:{llm.endpoints.metrics}/metrics", timeout=10).text
    (line,) = (one for one in lines.splitlines() if one.startswith("sluice_execution_device{"))
    assert 'device="CPU' in line
    assert 'model="toy"' in line


def test_one_bad_row_refuses_its_request_only(llm: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        bad = pool.submit(llm.error, b"a", b"", b"b")
        good = [pool.submit(llm.text, b"hello") for _ in range(3)]
        assert "text is empty" in bad.result()
        assert len({one.result() for one in good}) == 1


@pytest.mark.parametrize(
    ("word", "reason"), [(toys.OUTSIDE, "the engine failed"), (toys.NAN, "not numbers")]
)
def test_a_failing_engine_is_an_error_of_the_request_and_the_program_lives_on(
    llm: Any, word: str, reason: str
) -> None:
    text = f"a {word} b".encode()
    said = llm.text(b"hello")
    before = llm.metric("failed_total")
    assert reason in llm.error(text)
    assert "INTERNAL" in llm.error(text)
    assert llm.error(text, protocol="http").startswith("500: ")
    stream = llm.stream(text)
    assert not stream.wait()
    assert reason in stream.error
    assert llm.settled("failed_total", before + 4)
    assert llm.text(b"hello") == said


def rows(predictions: Path, session: str) -> list[dict[str, Any]]:
    """The log's rows of a session, once there are some."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if predictions.exists():
            found = ds.dataset(predictions, format="parquet")
            table = found.to_table().to_pylist()
            if mine := [row for row in table if row["session"] == session]:
                return mine
        time.sleep(0.1)
    raise AssertionError(f"{session} is not in the log")


@pytest.mark.parametrize("way", ["grpc", "http", "stream"])
def test_each_request_is_recorded_once(logged: tuple[Any, Path], way: str) -> None:
    server, predictions = logged
    headers = {"x-session-id": f"session-{way}", "x-request-id": "r1"}
    if way == "stream":
        found = server.stream(b"bin blue", headers=headers).wait()[-1]
        said, count = found.text, found.signals["token_count"]
    else:
        (asked,) = server.ask(b"bin blue", protocol=way, headers=headers)
        said, count = asked["completion"].decode(), asked["token_count"]
    (row,) = rows(predictions, f"session-{way}")
    assert (row["request"], row["model"], row["release"]) == ("r1", "toy", 1)
    assert row["variant"] == "onnx-fp32"
    assert row["input_chars"] == 8
    assert (row["length_chars"], row["token_count"]) == (len(said), count)
    assert row["average_log_probability"] < 0
    assert row["empty"] is False
    assert row["error"] is None
    assert row["script"] == "latin"
    assert row["unknown_token_rate"] is None  # Bytes make any text.
    assert row["entropy"] > 0
    assert row["fallback"] in {True, False}
    assert len(row["text_hash"]) == 16
    assert (row["shadow"], row["pinned"], row["language"]) == (False, False, None)
    assert 0 < row["latency_ms"] < 20_000


def test_only_an_answer_that_the_model_cut_off_is_a_fallback(logged: tuple[Any, Path]) -> None:
    server, predictions = logged
    (whole,) = server.ask(b"bin blue", headers={"x-session-id": "unlimited"})
    fewer = max(1, int(whole["token_count"]) - 1)
    server.ask(b"bin blue", headers={"x-session-id": "limited"}, parameters={"max_tokens": fewer})
    (limited,) = rows(predictions, "limited")
    assert limited["token_count"] == fewer
    assert limited["fallback"] is False
    (unlimited,) = rows(predictions, "unlimited")
    assert unlimited["fallback"] is (unlimited["token_count"] == MOST_TOKENS)


def test_refusals_are_recorded_and_those_who_only_look_are_not(logged: tuple[Any, Path]) -> None:
    server, predictions = logged
    probe = {"parameters": {"x-sluice-probe": True}, "headers": {"x-session-id": "probe"}}
    server.ask(b"a", **probe)
    server.error(b"<|end|>", headers={"x-session-id": "refused"})
    (row,) = rows(predictions, "refused")
    assert "control word" in row["error"]
    assert (row["input_chars"], row["token_count"]) == (7, None)
    everything = ds.dataset(predictions, format="parquet").to_table().to_pylist()
    assert "probe" not in {row["session"] for row in everything}


def test_what_is_under_way_is_answered_before_the_server_ends(
    variants: Path, tmp_path: Path
) -> None:
    with serve(tmp_path, variants / "llm", "llm", changes=ENDLESS) as server:
        said = server.text(b"hello", parameters={"max_tokens": 1200})
        with ThreadPoolExecutor(3) as pool:
            calls = [
                pool.submit(server.text, b"hello", parameters={"max_tokens": 1200})
                for _ in range(2)
            ]
            assert server.settled("live", 2)
            server.stop()
            assert [call.result() for call in calls] == [said, said]


def test_a_variant_that_does_not_run_is_never_ready(variants: Path, tmp_path: Path) -> None:
    changes = {"layers": 3}
    with (
        pytest.raises(AssertionError, match="Invalid input name: past_value_2"),
        serve(tmp_path, variants / "llm", "llm", changes=changes),
    ):
        pass


def test_many_come_and_go_and_nothing_is_left(llm: Any) -> None:
    said = llm.text(b"hello")
    before = llm.metric("answered_total")

    def one(number: int) -> bool:
        if number % 3 == 0:
            return bool(llm.text(b"hello", protocol=("grpc", "http")[number % 2]) == said)
        stream = llm.stream(b"hello")
        if number % 3 == 1:
            return bool(stream.wait()[-1].text == said)
        time.sleep(0.01 * (number % 5))
        stream.cancel()
        return True

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(one, range(150)))
    assert llm.settled("live", 0)
    assert llm.settled("waiting", 0)
    assert llm.metric("answered_total") >= before + 100
    assert np.isfinite(llm.metric("tokens_total"))


def test_errors_reach_a_client_that_waits(llm: Any) -> None:
    heard = threading.Event()
    errors: list[Any] = []

    def hear(result: Any, error: Any) -> None:
        assert result is None
        errors.append(error)
        heard.set()

    llm.begin(b"", hear)
    assert heard.wait(10)
    assert isinstance(errors[0], InferenceServerException)
