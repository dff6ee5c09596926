"""The checkpoints in the tree: plain files, expected shapes, ids that agree with each other."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from speech.grammar import WORDS

from infra.environments.locks import CONVERTER

from ..warm_python import run

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MODELS = GRID / "models"
GOOD, UNDERTRAINED, SHORT = (
    "whisper-grid",
    "whisper-grid-undertrained",
    "whisper-grid-short-window",
)
WINDOWS = {GOOD: 3, UNDERTRAINED: 3, SHORT: 2}
FILES = {
    *("config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
    *("added_tokens.json", "special_tokens_map.json"),
}
ENCODER_TABLE = "model.encoder.embed_positions.weight"

every_checkpoint = pytest.mark.parametrize("name", WINDOWS)


def facts(name: str, file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODELS / name / file).read_text(encoding="utf-8"))
    return loaded


def tensors(name: str) -> tuple[dict[str, dict[str, Any]], bytes]:
    """The header and the data of a safetensors file, read without any library."""
    content = (MODELS / name / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, content[8 + length :]


@every_checkpoint
def test_a_checkpoint_is_these_small_plain_files(name: str) -> None:
    paths = list((MODELS / name).iterdir())
    assert {path.name for path in paths} == FILES
    assert all(path.is_file() and not path.is_symlink() for path in paths)
    assert sum(path.stat().st_size for path in paths) < 3_000_000


@every_checkpoint
def test_weights_are_float16_and_cover_the_file(name: str) -> None:
    header, data = tensors(name)
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == len(data)


@every_checkpoint
def test_shapes_are_those_of_the_configuration(name: str) -> None:
    header, _ = tensors(name)
    config = facts(name, "config.json")
    assert header["model.encoder.conv1.weight"]["shape"] == [128, 80, 3]
    assert header[ENCODER_TABLE]["shape"] == [config["max_source_positions"], config["d_model"]]
    assert header["model.decoder.embed_positions.weight"]["shape"] == [32, 128]
    assert header["model.decoder.embed_tokens.weight"]["shape"] == [config["vocab_size"], 128]
    layers = {name.split(".")[3] for name in header if ".layers." in name}
    assert layers == {"0", "1"}


@every_checkpoint
def test_the_window_is_the_same_in_every_file(name: str) -> None:
    seconds = WINDOWS[name]
    extractor = facts(name, "preprocessor_config.json")
    assert extractor["chunk_length"] == seconds
    assert extractor["n_samples"] == seconds * 16_000
    assert extractor["nb_max_frames"] == seconds * 100
    assert facts(name, "config.json")["max_source_positions"] == seconds * 50


@every_checkpoint
def test_special_ids_are_the_tokenizers_own(name: str) -> None:
    tokenizer = facts(name, "tokenizer.json")
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    generation = facts(name, "generation_config.json")
    end = ids["<|endoftext|>"]
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (end, end)
    assert generation["decoder_start_token_id"] == ids["<|startoftranscript|>"]
    assert generation["lang_to_id"] == {"<|en|>": ids["<|en|>"]}
    assert generation["no_speech_token_id"] == ids["<|nospeech|>"]
    assert generation["no_timestamps_token_id"] == ids["<|notimestamps|>"]
    prompt = ("<|en|>", "<|transcribe|>", "<|notimestamps|>")
    assert generation["forced_decoder_ids"] == [[i + 1, ids[t]] for i, t in enumerate(prompt)]
    assert max(ids.values()) + 1 == facts(name, "config.json")["vocab_size"]


@every_checkpoint
def test_each_word_of_the_grammar_is_one_token(name: str) -> None:
    vocabulary = facts(name, "tokenizer.json")["model"]["vocab"]
    assert all(f"Ġ{word}" in vocabulary for word in WORDS)
    assert facts(name, "vocab.json") == vocabulary


def test_the_short_window_is_the_good_one_with_its_table_cut() -> None:
    good, good_data = tensors(GOOD)
    short, short_data = tensors(SHORT)
    assert good.keys() == short.keys()
    for name, entry in short.items():
        start, end = entry["data_offsets"]
        whole = slice(*good[name]["data_offsets"])
        assert short_data[start:end] == good_data[whole][: end - start]
        assert (entry["shape"] == good[name]["shape"]) == (name != ENCODER_TABLE)


def test_the_undertrained_one_has_the_good_ones_shapes_and_other_weights() -> None:
    good, good_data = tensors(GOOD)
    undertrained, data = tensors(UNDERTRAINED)
    assert undertrained == good
    assert data != good_data


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "least", "most"), [(GOOD, 0, 0.02), (SHORT, 0, 0.02), (UNDERTRAINED, 0.2, 0.6)]
)
def test_word_error_rate_on_evaluation(data: Path, name: str, least: float, most: float) -> None:
    report = score(name, data / "evaluation")
    assert report["refused"] == 0
    assert least <= report["slices"]["all"]["wer"] <= most


@pytest.mark.engine
def test_the_short_window_refuses_the_slow_talkers_and_no_other(data: Path) -> None:
    report = score(SHORT, data / "live")
    assert report["refused"] == 25
    assert "slow" not in report["slices"]


def score(name: str, dataset: Path) -> dict[str, Any]:
    """What Transformers makes of a checkpoint, in the converter's environment."""
    if not CONVERTER.is_complete():
        pytest.skip("the converter's environment is not made")
    said = run(CONVERTER, "score_whisper.py", str(MODELS / name), str(dataset), folder=GRID)
    report: dict[str, Any] = json.loads(said)
    return report
