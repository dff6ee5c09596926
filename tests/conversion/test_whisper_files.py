"""What `decoding.json` says of checkpoints that say it in different ways."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

VALUES = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from tokenizers import Tokenizer, models
sys.path.insert(0, sys.argv[1])
from pipelines.conversion.whisper.files import decoding_values
from registry.errors import UserError
folder, found = Path(sys.argv[2]), []
for case in json.loads((folder / "cases.json").read_text()):
    words = {name: int(number) for name, number in case["tokens"].items()}
    Tokenizer(models.WordLevel(words, unk_token="a")).save(str(folder / "tokenizer.json"))
    model = SimpleNamespace(
        config=SimpleNamespace(**case["config"]),
        generation_config=SimpleNamespace(**case["generation"]),
    )
    try:
        found.append(decoding_values(folder, model))
    except UserError as error:
        found.append({"error": str(error)})
(folder / "found.json").write_text(json.dumps(found))
"""
CONFIG = {
    "vocab_size": 23,
    "max_target_positions": 12,
    "max_source_positions": 10,
    "d_model": 8,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
}
TOKENS = {name: number for number, name in enumerate("abcdef")}
GENERATION = {
    "decoder_start_token_id": 6,
    "eos_token_id": 5,
    "max_length": 12,
    "language": "en",
    "task": "transcribe",
    "lang_to_id": {"<|en|>": 7, "<|de|>": 8, "<|cut|>": 40},
    "task_to_id": {"transcribe": 9, "translate": 10},
    "no_timestamps_token_id": 11,
    "no_speech_token_id": 4,
}


def case(
    *without: str,
    config: dict[str, Any] | None = None,
    tokens: dict[str, int] | None = None,
    **generation: Any,
) -> dict[str, Any]:
    kept = {name: value for name, value in GENERATION.items() if name not in without}
    return {
        "config": CONFIG | (config or {}),
        "generation": kept | generation,
        "tokens": TOKENS | (tokens or {}),
    }


CASES = {
    "full": case(),
    "times in the tokenizer": case(tokens={"<|0.00|>": 12}, max_initial_timestamp_index=3),
    "times elsewhere": case(tokens={"<|0.00|>": 13}),
    "too few ids for times": case(config={"vocab_size": 22}),
    "forced": case(
        "language", "task", forced_decoder_ids=[[1, 8], [2, 10], [3, 11]], lang_to_id={"<|de|>": 8}
    ),
    "one language": case("language", "lang_to_id", "task_to_id", "task"),
    "bare": case("language", "lang_to_id", "task_to_id", "task", "no_timestamps_token_id"),
    "undecided": case("language", "task"),
}


@pytest.fixture(scope="module")
def found(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "cases.json").write_text(json.dumps(list(CASES.values())))
    script = folder / "values.py"
    script.write_text(VALUES)
    checkout = checkpoints.GRID.parents[1]
    checkpoints.run_converter(script, str(checkout), str(folder))
    return dict(zip(CASES, json.loads((folder / "found.json").read_text()), strict=True))


def test_prompts_and_what_may_be_asked_for(found: dict[str, Any]) -> None:
    full = found["full"]
    assert full["prompt"] == [6, 7, 9, 11]
    assert full["start"] == 6
    assert full["languages"] == {"en": 7, "de": 8}, "ids outside the vocabulary are no languages"
    assert (full["language"], full["task"]) == ("en", "transcribe")
    assert full["tasks"] == {"transcribe": 9, "translate": 10}
    assert (full["max_length"], full["max_new_tokens"]) == (12, 8)


def test_times_need_a_token_for_each_position(found: dict[str, Any]) -> None:
    assert found["full"]["timestamps"] == {"begin": 12, "count": 11, "max_initial": 50}
    assert found["times in the tokenizer"]["timestamps"]["max_initial"] == 3
    assert found["times elsewhere"]["timestamps"] is None
    assert found["too few ids for times"]["timestamps"] is None
    assert found["bare"]["timestamps"] is None
    assert found["bare"]["no_timestamps"] is None


def test_older_checkpoints_name_their_language_in_the_prompt(found: dict[str, Any]) -> None:
    forced = found["forced"]
    assert forced["prompt"] == [6, 8, 10, 11]
    assert (forced["language"], forced["task"]) == ("de", "translate")


def test_a_model_of_one_language_names_none(found: dict[str, Any]) -> None:
    assert found["one language"]["prompt"] == [6, 11]
    assert found["one language"]["languages"] == found["one language"]["tasks"] == {}
    assert found["one language"]["language"] is found["one language"]["task"] is None
    assert found["bare"]["prompt"] == [6]


def test_a_model_that_does_not_choose_is_refused(found: dict[str, Any]) -> None:
    assert "does not say which one to write" in found["undecided"]["error"]
