from __future__ import annotations

import numpy as np
import pytest

from model_repository.programs.common import audio
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from model_repository.programs.common.quality import describe_text
from model_repository.programs.common.records import is_probe, record

SOUND = (0.1 * np.random.default_rng(0).standard_normal(8_000)).astype(np.float32)
HEARD = audio.describe(SOUND, 16_000)
ANSWER = describe_text("bin blue now", (1, 2, 3), -0.1) | {"no_speech_probability": 0.01}
OF_OTHER_KINDS = {"input_chars", "frames", "brightness", "motion", "input_rms", "output_rms"}
OF_OTHER_KINDS |= {"language", "script", "unknown_token_rate"}


def test_record_has_every_field_of_the_schema() -> None:
    found = record(HEARD, ANSWER, {}, at=5.0, latency_ms=3.0)
    given_by_the_log = {"model", "release", "variant", "error"}
    assert found.keys() == set(PREDICTION_SCHEMA.names) - given_by_the_log - OF_OTHER_KINDS
    assert found["duration_s"] == 0.5
    assert found["chars_per_s"] == 24
    assert found["length_chars"] == 12
    assert found["empty"] is False


@pytest.mark.parametrize("name", ["x-session-id", "X-Session-Id", "X-SESSION-ID"])
def test_session_in_any_case(name: str) -> None:
    headers = {name: "s1", "x-request-id": "r1"}
    found = record(HEARD, ANSWER, headers, at=5.0, latency_ms=3.0)
    assert (found["session"], found["request"]) == ("s1", "r1")


@pytest.mark.parametrize("sound", [[], [np.nan], [1e9]])
def test_refused_request_has_its_reason_and_no_answer(sound: list[float]) -> None:
    asked = audio.describe(np.array(sound, np.float32), 16_000)
    found = record(asked, "waveform is empty", {}, at=5.0, latency_ms=3.0)
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
        # What a caller writes into a body does not become the front door's, which is lower case.
        ({"X-Sluice-Shadow": "1", "x-sluice-shadow": "0"}, False, False),
        ({"X-Sluice-Shadow": "1"}, False, False),
    ],
)
def test_the_front_door_says_who_asked(
    parameters: dict[str, str], shadow: bool, pinned: bool
) -> None:
    found = record(HEARD, ANSWER, parameters, at=5.0, latency_ms=3.0)
    assert (found["shadow"], found["pinned"]) == (shadow, pinned)
    refused = record(HEARD, "no", parameters, at=5.0, latency_ms=3.0)
    assert (refused["shadow"], refused["pinned"]) == (shadow, pinned)


def test_nobody_at_the_front_door_only_looks() -> None:
    assert is_probe({"x-sluice-probe": True})
    assert not is_probe({"x-sluice-probe": True, "x-sluice-shadow": "0"})
    assert not is_probe({})
