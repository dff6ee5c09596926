from __future__ import annotations

import numpy as np
import pytest

from model_repository.programs.prediction_log import PREDICTION_SCHEMA
from model_repository.programs.whisper.records import record
from model_repository.programs.whisper.transcriber import Answer

SOUND = (0.1 * np.random.default_rng(0).standard_normal(8_000)).astype(np.float32)
ANSWER = Answer("bin blue now", -0.1, 0.01, 3, 0.9, looping=False)


def test_record_has_every_field_of_the_schema() -> None:
    found = record(SOUND, ANSWER, {}, sample_rate=16_000, at=5.0, latency_ms=3.0)
    given_by_the_log = {"model", "release", "variant", "error"}
    assert found.keys() == set(PREDICTION_SCHEMA.names) - given_by_the_log
    assert found["duration_s"] == 0.5
    assert found["chars_per_s"] == 24
    assert found["length_chars"] == 12
    assert found["empty"] is False


@pytest.mark.parametrize("name", ["x-session-id", "X-Session-Id", "X-SESSION-ID"])
def test_session_in_any_case(name: str) -> None:
    headers = {name: "s1", "x-request-id": "r1"}
    found = record(SOUND, ANSWER, headers, sample_rate=16_000, at=5.0, latency_ms=3.0)
    assert (found["session"], found["request"]) == ("s1", "r1")


def test_refused_request_has_its_reason_and_no_answer() -> None:
    empty = np.zeros(0, np.float32)
    found = record(empty, "waveform is empty", {}, sample_rate=16_000, at=5.0, latency_ms=3.0)
    assert found["error"] == "waveform is empty"
    assert found["duration_s"] == 0
    assert "token_count" not in found


def test_empty_answer_is_empty() -> None:
    silent = Answer("", -0.1, 0.9, 0, 0.0, looping=False)
    assert record(SOUND, silent, {}, sample_rate=16_000, at=5.0, latency_ms=3.0)["empty"] is True
