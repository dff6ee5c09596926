from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from model_repository.programs.whisper.parameters import options_of, refusal
from model_repository.programs.whisper.rules import Options, Rules, Timestamps
from model_repository.programs.whisper.settings import LongAudio

NONE = np.zeros(12, np.float32)
FULL = Rules(
    prompt=(1, 2, 4, 6),
    end_of_text=0,
    no_speech=None,
    max_length=10,
    allowed=NONE,
    allowed_at_start=NONE,
    languages={"en": 2, "de": 3},
    language="en",
    tasks={"transcribe": 4, "translate": 5},
    task="transcribe",
    no_timestamps=6,
    timestamps=Timestamps(7, 4, 1),
)
PLAIN = replace(
    FULL, prompt=(1,), languages={}, language=None, tasks={}, task=None, timestamps=None
)


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({}, Options((1, 2, 4, 6))),
        ({"x-request-id": "beam_size"}, Options((1, 2, 4, 6))),
        ({"beam_size": 1, "language": "en", "task": "transcribe"}, Options((1, 2, 4, 6))),
        ({"beam_size": 8}, Options((1, 2, 4, 6), beam_size=8)),
        ({"beam_size": "5"}, Options((1, 2, 4, 6), beam_size=5)),
        ({"language": "de"}, Options((1, 3, 4, 6))),
        ({"task": "translate"}, Options((1, 2, 5, 6))),
        ({"timestamps": True}, Options((1, 2, 4), timestamps=True)),
        ({"timestamps": "True", "language": "de"}, Options((1, 3, 4), timestamps=True)),
        ({"timestamps": "false"}, Options((1, 2, 4, 6))),
    ],
)
def test_sound_parameters(parameters: dict[str, Any], options: Options) -> None:
    assert refusal(parameters, FULL) == ""
    assert options_of(parameters, FULL) == options


@pytest.mark.parametrize("value", [0, 9, -1, 2.0, 2.5, True, None, "", "9", "-1", "two", "٣", [2]])
def test_other_beam_sizes_are_refused_by_their_range(value: Any) -> None:
    assert refusal({"beam_size": value}, FULL) == (
        f"beam_size is {value!r}; send an integer from 1 to 8"
    )


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"language": "fr"}, "language is 'fr'; this model knows de, en"),
        ({"language": 2}, "language is 2; this model knows de, en"),
        ({"task": "summarise"}, "task is 'summarise'; this model knows transcribe, translate"),
        ({"task": True}, "task is True; this model knows transcribe, translate"),
        ({"timestamps": 1}, "timestamps is 1; send true or false"),
        ({"timestamps": "yes"}, "timestamps is 'yes'; send true or false"),
        (
            {"temperature": 0.2},
            "temperature is not offered, answers are deterministic; leave it out",
        ),
    ],
)
def test_wrong_values_are_refused_by_what_may_stand_there(
    parameters: dict[str, Any], line: str
) -> None:
    assert refusal(parameters, FULL) == line


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (
            {"language": "en"},
            "language is not offered, this model has no language tokens; leave it out",
        ),
        (
            {"task": "transcribe"},
            "task is not offered, this model has no task tokens; leave it out",
        ),
        (
            {"timestamps": True},
            "timestamps are not offered, this model has no tokens for times; leave it out",
        ),
    ],
)
def test_what_a_model_lacks_is_refused_by_name(parameters: dict[str, Any], line: str) -> None:
    assert refusal(parameters, PLAIN) == line


def test_a_model_without_times_may_be_asked_for_none() -> None:
    assert refusal({"timestamps": False}, PLAIN) == ""
    assert options_of({"timestamps": False, "beam_size": 2}, PLAIN) == Options((1,), beam_size=2)


def test_long_audio_is_refused_unless_options_say_otherwise() -> None:
    assert LongAudio.read({}, 3.0) == LongAudio(3.0, 1.0)
    assert LongAudio.read({"long_audio": "chunk"}, 3.0) == LongAudio(60.0, 1.0)
    assert LongAudio.read({"long_audio": "chunk"}, 30.0) == LongAudio(60.0, 1.0)
    assert LongAudio.read({"long_audio": "chunk"}, 1.5) == LongAudio(60.0, 0.5)
    asked = MappingProxyType({"long_audio": "chunk", "overlap_s": "0", "longest_s": "90"})
    assert LongAudio.read(asked, 3.0) == LongAudio(90.0, 0.0)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"long_audio": "split"}, "long_audio is 'split'; it may be 'refuse' or 'chunk'"),
        ({"overlap_s": "2"}, "overlap_s is '2'; give seconds from 0 to 1.5"),
        ({"overlap_s": "nan"}, "overlap_s is 'nan'; give seconds from 0 to 1.5"),
        ({"longest_s": "one minute"}, "longest_s is 'one minute'; give seconds from 3 to 3600"),
        ({"longest_s": "2"}, "longest_s is '2'; give seconds from 3 to 3600"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match="^" + line.replace("(", r"\(") + "$"):
        LongAudio.read(options, 3.0)
