from __future__ import annotations

import numpy as np
import pytest

from model_repository.programs.common import audio
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from model_repository.programs.common.quality import describe_text
from model_repository.programs.common.records import is_probe, record, texts_of
from model_repository.programs.common.redaction import LONGEST_CHARS

SOUND = (0.1 * np.random.default_rng(0).standard_normal(8_000)).astype(np.float32)
HEARD = audio.describe(SOUND, 16_000)
ANSWER = describe_text("bin blue now", (1, 2, 3), -0.1) | {"no_speech_probability": 0.01}
OF_OTHER_KINDS = {"input_chars", "frames", "brightness", "motion", "input_rms", "output_rms"}
OF_OTHER_KINDS |= {"language", "script", "unknown_token_rate"}


def test_record_has_every_field_of_the_schema() -> None:
    found = record(HEARD, ANSWER, {}, release=2, at=5.0, latency_ms=3.0)
    given_by_the_log = {"model", "release", "variant", "error", "text", "input_text", "redacted"}
    assert found.keys() == set(PREDICTION_SCHEMA.names) - given_by_the_log - OF_OTHER_KINDS
    assert found["duration_s"] == 0.5
    assert found["chars_per_s"] == 24
    assert found["length_chars"] == 12
    assert found["empty"] is False


@pytest.mark.parametrize("name", ["x-session-id", "X-Session-Id", "X-SESSION-ID"])
def test_session_in_any_case(name: str) -> None:
    headers = {name: "s1", "x-request-id": "r1"}
    found = record(HEARD, ANSWER, headers, release=2, at=5.0, latency_ms=3.0)
    assert (found["session"], found["request"]) == ("s1", "r1")


@pytest.mark.parametrize("sound", [[], [np.nan], [1e9]])
def test_refused_request_has_its_reason_and_no_answer(sound: list[float]) -> None:
    asked = audio.describe(np.array(sound, np.float32), 16_000)
    found = record(asked, "waveform is empty", {}, release=2, at=5.0, latency_ms=3.0)
    assert found["error"] == "waveform is empty"
    assert found["duration_s"] == len(sound) / 16_000
    assert not {"token_count", "rms"} & found.keys()


def test_empty_answer_is_empty() -> None:
    assert describe_text("", (), -0.1)["empty"] is True


@pytest.mark.parametrize(
    ("parameters", "shadow", "pinned"),
    [
        ({}, False, False),
        ({"x-sluice-shadow": "0"}, False, False),
        ({"x-sluice-shadow": "1"}, True, False),
        ({"x-sluice-shadow": "pinned"}, False, True),
        # Where a copy has the headers of what it copies, who answers tells them apart.
        ({"x-sluice-shadow": "to-2"}, False, False),
        ({"x-sluice-shadow": "to-1"}, True, False),
        ({"x-sluice-shadow": "to-22"}, True, False),
        # What a caller writes into a body does not become the front door's, which is lower case.
        ({"X-Sluice-Shadow": "1", "x-sluice-shadow": "0"}, False, False),
        ({"X-Sluice-Shadow": "1"}, False, False),
    ],
)
def test_the_front_door_says_who_asked(
    parameters: dict[str, str], shadow: bool, pinned: bool
) -> None:
    found = record(HEARD, ANSWER, parameters, release=2, at=5.0, latency_ms=3.0)
    assert (found["shadow"], found["pinned"]) == (shadow, pinned)
    refused = record(HEARD, "no", parameters, release=2, at=5.0, latency_ms=3.0)
    assert (refused["shadow"], refused["pinned"]) == (shadow, pinned)


def test_nobody_at_the_front_door_only_looks() -> None:
    assert is_probe({"x-sluice-probe": True})
    assert not is_probe({"x-sluice-probe": True, "x-sluice-shadow": "0"})
    assert not is_probe({})


def test_texts_are_those_that_the_request_had() -> None:
    asked = np.array(["xin chào".encode()], dtype=object)
    assert texts_of(asked, {"translation": "hello", "token_count": 1}) == {
        "input_text": "xin chào",
        "text": "hello",
    }
    assert texts_of(asked, {}) == {"input_text": "xin chào"}
    endless = texts_of(np.array(["ệ".encode() * 10**6], dtype=object), {})["input_text"]
    assert LONGEST_CHARS < len(endless) < 10**5
    assert texts_of(SOUND, {"transcript": "bin blue"}) == {"text": "bin blue"}
    assert texts_of(SOUND, {"cleaned": SOUND}) == {}


@pytest.mark.parametrize(
    ("sound", "is_heard"),
    [
        ([1e30] * 400, False),
        ([np.nan] * 700, False),
        ([np.inf, -np.inf] * 400, False),
        ([9e3] * 1000, True),
        ([0.0] * 999 + [1.1e4], False),
        ([-np.inf], False),
    ],
)
def test_what_cannot_be_heard_has_no_level(sound: list[float], is_heard: bool) -> None:
    found = audio.describe(np.array(sound, np.float32), 16_000)
    assert ("rms" in found) == is_heard
