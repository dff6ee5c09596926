"""Tokens of times: which may follow, against Transformers' own processor, and what they mean."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_repository.programs.whisper.constraints import constraint
from model_repository.programs.whisper.rules import Options, Timestamps
from model_repository.programs.whisper.segments import Spoken, segments, spoken

BEGIN, COUNT, TEXTS, NO_TIMESTAMPS, END = 20, 11, 12, 19, 14
TIMES = Timestamps(BEGIN, COUNT, 4)
THEIRS = """
import sys, json
import numpy as np, torch
from types import SimpleNamespace
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
given = np.load(sys.argv[1])
config = SimpleNamespace(
    no_timestamps_token_id=19, eos_token_id=14, bos_token_id=14, max_initial_timestamp_index=4
)
found = {}
for name in given.files:
    if name.startswith("said"):
        said = torch.tensor(given[name])
        processor = WhisperTimeStampLogitsProcessor(config, begin_index=2)
        tokens = torch.cat([torch.full((len(said), 2), 15), said], dim=1)
        logits = torch.tensor(given[name.replace("said", "logits")])
        found[name] = processor(tokens, logits).numpy()
np.savez(sys.argv[2], **found)
"""


def toy() -> Any:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_decoder.py"))))


def rules() -> Any:
    made = toy().rules(size=BEGIN + COUNT, no_timestamps=NO_TIMESTAMPS, timestamps=TIMES)
    made.allowed[:] = made.allowed_at_start[:] = 0
    return SimpleNamespace(**{**vars(made), "end_of_text": END})


def sentence(random: np.random.Generator, length: int) -> list[int]:
    """Texts and times as the rules let them come: in pairs, never earlier than before."""
    said: list[int] = []
    now = int(random.integers(0, 4))
    while len(said) < length:
        said.append(BEGIN + now)
        said += random.integers(0, TEXTS, int(random.integers(1, 4))).tolist()
        now = min(now + int(random.integers(1, 4)), COUNT - 1)
        said.append(BEGIN + now)
    return said[:length]


@pytest.mark.engine
def test_what_may_follow_is_what_transformers_lets_follow(checkpoints: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    given: dict[str, Any] = {}
    for number in range(120):
        length = number % 12
        rows = np.array([sentence(random, length) for _ in range(5)], np.int64).reshape(5, length)
        given[f"said{number}"] = rows
        spread = random.choice([0.3, 1.0, 4.0])
        given[f"logits{number}"] = random.normal(0, spread, (5, BEGIN + COUNT)).astype(np.float32)
    np.savez(tmp_path / "given.npz", **given)
    script = tmp_path / "theirs.py"
    script.write_text(THEIRS)
    checkpoints.run_converter(script, str(tmp_path / "given.npz"), str(tmp_path / "theirs.npz"))
    ours = constraint(rules(), Options((15, 15), timestamps=True))
    with np.load(tmp_path / "theirs.npz") as theirs:
        for number in range(120):
            found = ours(given[f"logits{number}"], given[f"said{number}"])
            assert np.array_equal(found, theirs[f"said{number}"]), given[f"said{number}"]


def test_ids_after_the_last_time_are_never_written() -> None:
    made = rules()
    made.allowed = made.allowed_at_start = np.zeros(BEGIN + COUNT + 5, np.float32)
    logits = np.zeros((1, BEGIN + COUNT + 5), np.float32)
    logits[:, BEGIN + COUNT :] = 50
    for said in ([], [BEGIN], [BEGIN, 3]):
        tokens = np.array([said], np.int64).reshape(1, -1)
        found = constraint(made, Options((15,), timestamps=True))(logits, tokens)
        assert np.isneginf(found[:, BEGIN + COUNT :]).all()
        assert np.isfinite(found).any()


def test_times_become_segments() -> None:
    tokens = [BEGIN, 1, 2, BEGIN + 3, BEGIN + 4, 3, BEGIN + 7]
    found = spoken(tokens, TIMES, begin_s=10.0, end_s=13.0, step_s=0.5)
    assert found == Spoken((1, 2, 3), ((10.0, 11.5), (10.0, 11.5), (12.0, 13.0)))
    assert segments([found]) == [(10.0, 11.5, (1, 2)), (12.0, 13.0, (3,))]


def test_a_segment_without_an_end_ends_with_the_sound() -> None:
    found = spoken([BEGIN + 1, 1, 2], TIMES, begin_s=0, end_s=2.5, step_s=0.5)
    assert segments([found]) == [(0.5, 2.5, (1, 2))]


def test_without_times_all_is_one_segment() -> None:
    found = spoken([1, 2], None, begin_s=1.0, end_s=2.0, step_s=0)
    assert found.tokens == (1, 2)
    assert segments([found]) == [(1.0, 2.0, (1, 2))]
    assert segments([spoken([], None, begin_s=0, end_s=1, step_s=0)]) == []


def test_segments_of_chunks_do_not_overlap() -> None:
    left = Spoken((1, 2), ((0.0, 2.5), (2.5, 3.0)))
    right = Spoken((3, 4), ((2.6, 2.9), (3.1, 4.0)))
    assert segments([left, right.part(0, 2)]) == [
        (0.0, 2.5, (1,)),
        (2.5, 3.0, (2,)),
        (3.0, 3.0, (3,)),
        (3.1, 4.0, (4,)),
    ]
    assert json.dumps(segments([left.part(1, 1)])) == "[]"
