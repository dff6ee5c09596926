from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.text_source import pieces_in, prompt_of
from pipelines.conversion.translation.kind import KIND
from pipelines.conversion.translation.source import MARIAN, inspect
from registry.errors import UserError

from . import text_checkpoints as text

HERE = Path(__file__).resolve().parent


@pytest.fixture
def marian(tmp_path: Path) -> Path:
    return Path(text.write_marian(tmp_path / "marian"))


@pytest.fixture
def t5(tmp_path: Path) -> Path:
    return Path(text.write_t5(tmp_path / "t5"))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert caught.value.remedy
    return message


def test_facts_of_a_marian(marian: Path) -> None:
    found = inspect(marian)
    assert (found.architecture, found.width, found.vocabulary_size) == ("marian", 4, 5)
    assert (found.encoder_layers, found.decoder_layers, found.max_positions) == (1, 2, 16)
    assert found.parameters == 5 * 4 + 5 + 2 * 4 * 8
    assert KIND.inspect(marian)["max_positions"] == 16


def test_facts_of_a_t5(t5: Path) -> None:
    found = inspect(t5)
    assert (found.architecture, found.decoder_layers, found.max_positions) == ("t5", 1, 512)
    text.change(t5 / "config.json", num_decoder_layers=2)
    assert "decoder.block.1" in refused(t5)


def test_t5_may_have_either_tokenizer_but_needs_one(t5: Path) -> None:
    (t5 / "spiece.model").unlink()
    assert "neither spiece.model nor tokenizer.json" in refused(t5)
    vocabulary = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["a", -1.0], ["b", -1.0]]
    (t5 / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    assert inspect(t5).vocabulary_size == 5
    added = [{"id": 5, "content": "<extra>", "special": True}]
    text.change(t5 / "tokenizer.json", added_tokens=added)
    assert "has 6 tokens, the model's vocab_size is 5" in refused(t5)


@pytest.mark.parametrize("name", MARIAN)
def test_missing_file(marian: Path, name: str) -> None:
    (marian / name).unlink()
    assert f"{name} is missing" in refused(marian)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling.py", "tf_model.h5", "notes.doc"])
def test_file_that_nobody_checked(marian: Path, name: str) -> None:
    (marian / name).write_bytes(b"x")
    assert name in refused(marian)


def test_links(marian: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.spm"
    (marian / "source.spm").rename(other)
    (marian / "source.spm").symlink_to(other)
    assert "is a link" in refused(marian)
    (marian / "source.spm").unlink()
    os.link(other, marian / "source.spm")
    assert "is a link" in refused(marian)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "whisper"},
        {"architectures": ["MarianModel"]},
        {"architectures": None},
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        {"architectures": ["T5ForConditionalGeneration"]},
    ],
)
def test_other_kinds_of_model(marian: Path, values: dict[str, Any]) -> None:
    text.change(marian / "config.json", **values)
    assert "is not a translation model" in refused(marian)


def test_code_of_its_own(marian: Path) -> None:
    text.change(marian / "config.json", auto_map={"AutoModel": "mine.Model"})
    assert "auto_map" in refused(marian)


def test_a_vocabulary_for_each_side(marian: Path) -> None:
    text.change(marian / "config.json", share_encoder_decoder_embeddings=False)
    assert "a vocabulary for each side" in refused(marian)


@pytest.mark.parametrize("layers", [0, -1, "2", None, True])
def test_sizes_that_are_none(marian: Path, layers: Any) -> None:
    text.change(marian / "config.json", decoder_layers=layers)
    assert "decoder_layers" in refused(marian)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"b": 2}, "each once"),
        ({"b": 9}, "each once"),
        ({"b": "3"}, "each once"),
        ({"<pad>": None, "c": 4}, "holds no '<pad>'"),
        ({"c": 5}, "has 6 tokens, the model's vocab_size is 5"),
    ],
)
def test_vocabulary_that_is_not_the_models(marian: Path, values: dict[str, Any], said: str) -> None:
    text.change(marian / "vocab.json", **values)
    assert said in refused(marian)


def test_weights_of_another_shape(marian: Path) -> None:
    tensors = text.TENSORS["marian"] | {"model.shared.weight": [6, 4]}
    (marian / "model.safetensors").write_bytes(text.safetensors(tensors))
    assert "'model.shared.weight' is [6, 4], config.json asks for [5, 4]" in refused(marian)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 0.999))
def test_weights_cut_short_anywhere(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    folder = text.write_marian(tmp_path_factory.mktemp("cut") / "marian")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged or cut short" in refused(folder)


def test_a_model_of_several_languages_must_say_which(marian: Path) -> None:
    words = ["</s>", "<unk>", ">>es<<", ">>fr<<", "<pad>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (marian / "vocab.json").write_text(json.dumps(vocabulary))
    assert '{"template": ">>es<< {text}"}' in refused(marian)
    (marian / "prompt.json").write_text(json.dumps({"template": "{text}"}))
    assert "does not say which one" in refused(marian)
    (marian / "prompt.json").write_text(json.dumps({"template": ">>fr<< {text}"}))
    assert inspect(marian).vocabulary_size == 5


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, "template is None"),
        ({"template": "translate"}, "does not hold {text} once"),
        ({"template": "{text} {text}"}, "does not hold {text} once"),
        ({"template": "{text}", "stop": "\n"}, "stop is"),
        ({"template": "{text}", "stop": [""]}, "stop is"),
        ({"template": "{text}", "max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"template": "{text}", "temperature": 1}, "has a key 'temperature'"),
    ],
)
def test_prompt_that_cannot_be_used(marian: Path, prompt: dict[str, Any], said: str) -> None:
    (marian / "prompt.json").write_text(json.dumps(prompt))
    assert said in refused(marian)


def test_prompt_is_read_as_written(marian: Path) -> None:
    assert prompt_of(marian) is None
    written = {"template": "{a} {text}\n", "stop": ["\n", "##"], "max_new_tokens": 9}
    (marian / "prompt.json").write_text(json.dumps(written))
    found = prompt_of(marian)
    assert found is not None
    assert (found.template, found.stop, found.max_new_tokens) == ("{a} {text}\n", ("\n", "##"), 9)


@given(pieces=st.lists(st.text("abc▁", min_size=1, max_size=20), min_size=1, max_size=9))
def test_pieces_are_counted_and_a_cut_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "source.spm"
    content = text.sentencepiece(*pieces)
    # Other fields of a real one: the trainer's settings, longer than one byte can say.
    content += b"\x12\x80\x02" + bytes(256)
    path.write_bytes(content)
    assert pieces_in(path) == len(pieces)
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match="is cut short"):
        pieces_in(path)


@pytest.mark.parametrize("content", [b"", b"\x80" * 20, b"\x08\x01", b"PK\x03\x04", b"\x12\x00"])
def test_what_is_no_sentencepiece_model(marian: Path, content: bytes) -> None:
    (marian / "target.spm").write_bytes(content)
    assert "not a SentencePiece model" in refused(marian)
