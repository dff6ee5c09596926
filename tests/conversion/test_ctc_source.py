from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.ctc_speech.kind import KIND
from pipelines.conversion.ctc_speech.source import ALLOWED, REQUIRED, facts, inspect
from pipelines.conversion.ctc_speech.vocabulary import characters
from registry.errors import UserError

from . import ctc_checkpoints as ctc

HERE = Path(__file__).resolve().parent
ARCHITECTURES = ("whisper", "wav2vec2")

either = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    return Path(ctc.write_bare(tmp_path / "whisper"))


@pytest.fixture
def folder(tmp_path: Path, architecture: str) -> Path:
    return Path(ctc.write_bare(tmp_path / "bare", architecture))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_facts_of_a_whisper_encoder(whisper: Path) -> None:
    found = inspect(whisper)
    assert (found.architecture, found.mel_bands) == ("whisper", 8)
    assert (found.window_samples, found.window_s) == (3200, 0.2)
    assert (found.width, found.layers, found.vocabulary_size, found.blank) == (4, 1, 5, 0)
    assert found.parameters == 4 * 8 * 3 + 8 * 4 + 5 * 4 + 5
    assert KIND.inspect(whisper)["window_s"] == 0.2
    assert all(isinstance(value, int | float) for value in facts(whisper).values())


def test_facts_of_wav2vec2(tmp_path: Path) -> None:
    folder = ctc.write_bare(tmp_path / "bare", "wav2vec2")
    found = inspect(folder)
    assert (found.architecture, found.mel_bands) == ("wav2vec2", 0)
    assert found.window_samples == 3 * 16_000
    change(folder / "preprocessor_config.json", chunk_length=5)
    assert inspect(folder).window_samples == 5 * 16_000
    change(folder / "preprocessor_config.json", chunk_length=-1)
    assert "chunk_length" in refused(folder)


def test_the_example_is_accepted() -> None:
    found = inspect(ctc.MODEL)
    assert (found.mel_bands, found.window_s, found.vocabulary_size) == (80, 3, 31)


@either
@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing" in refused(folder)


@either
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "pickle"),
        ("best-val_wer=0.3986.ckpt", "pickle"),
        ("modeling_ctc.py", "code"),
        ("language_model.arpa", "no part of the conversion reads"),
        (".hidden", "no part of the conversion reads"),
    ],
)
def test_unknown_file_is_refused(folder: Path, name: str, reason: str) -> None:
    (folder / name).write_bytes(b"x")
    message = refused(folder)
    assert name in message
    assert reason in message


@either
def test_known_extra_files_are_accepted(folder: Path) -> None:
    for name in set(ALLOWED) - set(REQUIRED) - {"vocab.json", "tokenizer.json"}:
        (folder / name).write_text("{}")
    inspect(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json", "README.md"])
def test_links_are_refused(whisper: Path, name: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    if (whisper / name).exists():
        (whisper / name).rename(target)
    else:
        target.write_text("text")
    (whisper / name).symlink_to(target)
    assert "is a link" in refused(whisper)
    (whisper / name).unlink()
    (whisper / name).hardlink_to(target)
    assert "is a link" in refused(whisper)


def test_folders_and_pipes_are_refused(whisper: Path) -> None:
    (whisper / "checkpoint-100").mkdir()
    assert "is a folder" in refused(whisper)
    (whisper / "checkpoint-100").rmdir()
    os.mkfifo(whisper / "merges.txt")
    assert "is not a plain file" in refused(whisper)


@either
@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "hubert"},
        {"architectures": ["WhisperForConditionalGeneration"]},
        {"architectures": ["Wav2Vec2ForPreTraining"]},
        {"architectures": None},
        {"architectures": "WhisperForCTC"},
    ],
)
def test_another_kind_is_refused(folder: Path, values: dict[str, Any]) -> None:
    change(folder / "config.json", **values)
    assert "is not a CTC model" in refused(folder)


def test_a_name_of_the_other_architecture_is_refused(whisper: Path) -> None:
    change(whisper / "config.json", architectures=["Wav2Vec2ForCTC"])
    assert "is not a CTC model" in refused(whisper)


def test_a_whole_whisper_is_of_another_kind() -> None:
    assert "is not a CTC model" in refused(ctc.GRID / "models" / "whisper-grid")


@either
def test_code_of_its_own_is_refused(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    assert "auto_map" in refused(folder)


@either
@pytest.mark.parametrize("blank", [5, 50257])
def test_blank_outside_the_vocabulary_is_refused(folder: Path, blank: int) -> None:
    change(folder / "config.json", pad_token_id=blank)
    assert f"pad_token_id {blank}, CTC's blank, is outside" in refused(folder)


@either
@pytest.mark.parametrize("blank", [None, -1, "0", True, 0.5])
def test_blank_is_an_id(folder: Path, blank: Any) -> None:
    change(folder / "config.json", pad_token_id=blank)
    assert "pad_token_id" in refused(folder)


@either
@pytest.mark.parametrize("size", [None, 1, "5", True])
def test_vocabulary_has_a_size(folder: Path, size: Any) -> None:
    change(folder / "config.json", vocab_size=size)
    assert "vocab_size" in refused(folder)


@either
def test_missing_vocabulary_is_refused(folder: Path) -> None:
    (folder / "vocab.json").unlink()
    assert "its vocabulary is missing" in refused(folder)


@either
@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [
        (ctc.CHARACTERS | {"b": 5}, "outside the last layer's 5 tokens"),
        (ctc.CHARACTERS | {"b": -1}, "outside the last layer's 5 tokens"),
        (ctc.CHARACTERS | {"b": 4}, "is that of 'a' too"),
        ({"<pad>": 0, "|": 1, "a": 2, "b": 4}, "the id 3 has none"),
        ({"eng": {"<pad>": 0}}, "not an integer"),
        ({"<pad>": True}, "not an integer"),
        ({}, "the id 0 has none"),
        ([], "not a JSON object"),
    ],
)
def test_vocabulary_of_another_layer_is_refused(folder: Path, vocabulary: Any, reason: str) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    assert reason in refused(folder)


def test_tokens_that_transformers_added_may_lie_behind_the_layer(whisper: Path) -> None:
    (whisper / "added_tokens.json").write_text(json.dumps({"<s>": 5, "</s>": 6}))
    inspect(whisper)
    without = {token: number for token, number in ctc.CHARACTERS.items() if number != 2}
    (whisper / "vocab.json").write_text(json.dumps(without))
    assert "the id 2 has none" in refused(whisper)
    (whisper / "added_tokens.json").write_text(json.dumps({"</s>": 2}))
    inspect(whisper)


def test_characters_are_those_that_are_written(whisper: Path) -> None:
    assert characters(whisper, 5) == {
        "tokens": ["", "", "", "|", "a"],
        "delimiter": "|",
        "lower_case": False,
    }
    (whisper / "vocab.json").write_text(
        json.dumps({"[P]": 0, "[U]": 1, "_": 2, "A": 3, "B": 4}),
    )
    (whisper / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "pad_token": {"content": "[P]", "special": True},
                "unk_token": "[U]",
                "word_delimiter_token": "_",
                "do_lower_case": True,
            }
        )
    )
    assert characters(whisper, 5) == {
        "tokens": ["", "", "_", "A", "B"],
        "delimiter": "_",
        "lower_case": True,
    }


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        ({"model": {"vocab": {"a": 0, "b": 5}}}, "go up to the id 5"),
        ({"model": {"vocab": {}}}, "holds no vocabulary"),
        ({"model": {"vocab": [["a", 0.1]]}}, "holds no vocabulary"),
        ({"model": {"vocab": {"a": None}}}, "holds no vocabulary"),
        ({"model": []}, "holds no vocabulary"),
        ({}, "holds no vocabulary"),
    ],
)
def test_pieces_of_another_layer_are_refused(
    whisper: Path, tokenizer: dict[str, Any], reason: str
) -> None:
    (whisper / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert reason in refused(whisper)


def test_pieces_may_replace_characters(whisper: Path) -> None:
    (whisper / "vocab.json").unlink()
    (whisper / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0, "b": 4}}}))
    inspect(whisper)


@either
def test_layer_of_another_size_is_refused(folder: Path, architecture: str) -> None:
    tensors = {"whisper": ctc.WHISPER_TENSORS, "wav2vec2": ctc.WAV2VEC2_TENSORS}[architecture]
    weights = ctc.safetensors(tensors | {"lm_head.weight": [6, 4]})
    (folder / "model.safetensors").write_bytes(weights)
    assert "lm_head.weight" in refused(folder)


@pytest.mark.parametrize(
    "names",
    [
        ("model.encoder.", "ctc_head."),
        ("", "lm_head."),
        ("phowhisper.encoder.", "ctc_head.1."),
    ],
)
def test_parts_may_be_called_otherwise(whisper: Path, names: tuple[str, str]) -> None:
    encoder, head = names
    renamed = {
        name.replace("encoder.", encoder).replace("lm_head.", head): shape
        for name, shape in ctc.WHISPER_TENSORS.items()
    }
    (whisper / "model.safetensors").write_bytes(ctc.safetensors(renamed))
    assert inspect(whisper).width == 4


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"decoder.embed_tokens.weight": [5, 4]}, "2 matrices beside the encoder"),
        ({"other.conv1.weight": [4, 8, 3]}, "2 tensors called conv1.weight"),
        ({"temperature": [1]}, "'temperature' belongs to neither"),
        ({"aligner.bias": [1]}, "'aligner.bias' belongs to neither"),
    ],
)
def test_what_is_no_part_is_refused(whisper: Path, extra: dict[str, Any], reason: str) -> None:
    weights = ctc.safetensors(ctc.WHISPER_TENSORS | extra)
    (whisper / "model.safetensors").write_bytes(weights)
    assert reason in refused(whisper)


def test_encoder_without_a_last_layer_is_refused(whisper: Path) -> None:
    tensors = {n: shape for n, shape in ctc.WHISPER_TENSORS.items() if "lm_head" not in n}
    (whisper / "model.safetensors").write_bytes(ctc.safetensors(tensors))
    assert "0 matrices beside the encoder" in refused(whisper)


def test_missing_layer_is_refused(whisper: Path) -> None:
    change(whisper / "config.json", encoder_layers=2)
    assert "encoder.layers.1.fc1.weight" in refused(whisper)


def test_adapters_are_refused(tmp_path: Path) -> None:
    folder = ctc.write_bare(tmp_path / "bare", "wav2vec2")
    change(folder / "config.json", add_adapter=True)
    assert "add_adapter" in refused(folder)


def test_window_of_another_extractor_is_refused(whisper: Path) -> None:
    change(whisper / "preprocessor_config.json", n_samples=6400)
    assert "10 positions are 3200 samples" in refused(whisper)
    change(whisper / "preprocessor_config.json", n_samples=3200, feature_size=128)
    assert "feature_size 128" in refused(whisper)


@either
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "vocab.json"])
def test_broken_json_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert name in refused(folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(ctc.write_bare(tmp_path_factory.mktemp("source") / "bare"))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_cut_of_the_weights_is_refused(scratch: Path, data: Any) -> None:
    whole = ctc.safetensors(ctc.WHISPER_TENSORS)
    kept = data.draw(st.integers(0, len(whole) - 1))
    (scratch / "model.safetensors").write_bytes(whole[:kept])
    assert "is damaged or cut short" in refused(scratch)
    (scratch / "model.safetensors").write_bytes(whole + bytes(1 + kept % 7))
    assert "is damaged or cut short" in refused(scratch)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_changed_header_bytes_never_raise_anything_else(scratch: Path, data: Any) -> None:
    whole = bytearray(ctc.safetensors(ctc.WHISPER_TENSORS))
    length = int.from_bytes(whole[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    (scratch / "model.safetensors").write_bytes(whole)
    try:
        inspect(scratch)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@settings(max_examples=100, deadline=None)
@given(
    vocabulary=st.dictionaries(
        st.text(max_size=3), st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=2)
    )
)
def test_any_vocabulary_is_taken_or_refused(scratch: Path, vocabulary: dict[str, Any]) -> None:
    (scratch / "model.safetensors").write_bytes(ctc.safetensors(ctc.WHISPER_TENSORS))
    (scratch / "vocab.json").write_text(json.dumps(vocabulary))
    try:
        inspect(scratch)
        assert sorted(vocabulary.values()) == list(range(5))
    except UserError as error:
        assert "vocab.json" in str(error)  # noqa: PT017 - either outcome is right
