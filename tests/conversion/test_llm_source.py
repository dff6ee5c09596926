from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.conversion.kinds import kind_of
from pipelines.conversion.llm.kind import KIND
from pipelines.conversion.llm.prequantised import (
    Prequantised,
    tensorrt_llm_parameters,
    vllm_model,
)
from pipelines.conversion.llm.source import inspect
from pipelines.conversion.recipes import recipe_of
from registry.errors import UserError

from . import text_checkpoints as text

HERE = Path(__file__).resolve().parent


PACKED = {
    "model.embed_tokens.weight": [5, 4],
    "lm_head.weight": [5, 4],
    "model.layers.1.mlp.down_proj.qweight": [8, 1],
}


@pytest.fixture
def qwen2(tmp_path: Path) -> Path:
    return Path(text.write_qwen2(tmp_path / "qwen2"))


@pytest.fixture
def packed(qwen2: Path) -> Path:
    (qwen2 / "model.safetensors").write_bytes(text.safetensors(PACKED))
    text.change(qwen2 / "config.json", tie_word_embeddings=False, quantization_config=text.AWQ)
    return qwen2


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert caught.value.remedy
    return message


def test_facts(qwen2: Path) -> None:
    found = inspect(qwen2)
    assert (found.architecture, found.layers, found.heads, found.key_heads) == ("qwen2", 2, 2, 1)
    assert found.is_tied
    assert found.prequantised is None
    facts = KIND.inspect(qwen2)
    assert facts["parameters"] == 5 * 4 + 4 * 8
    assert facts["prequantised_bits"] == 0
    assert all(isinstance(value, float) for value in facts.values())


def test_a_head_of_its_own_must_be_there(qwen2: Path) -> None:
    text.change(qwen2 / "config.json", tie_word_embeddings=False)
    assert "'lm_head.weight' is missing" in refused(qwen2)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file(qwen2: Path, name: str) -> None:
    (qwen2 / name).unlink()
    assert f"{name} is missing" in refused(qwen2)


def test_nothing_says_how_to_ask(qwen2: Path) -> None:
    (qwen2 / "prompt.json").unlink()
    assert "nothing says how to ask it" in refused(qwen2)
    (qwen2 / "tokenizer_config.json").write_text("{}")
    assert "nothing says how to ask it" in refused(qwen2)
    (qwen2 / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert inspect(qwen2).layers == 2
    (qwen2 / "tokenizer_config.json").unlink()
    (qwen2 / "chat_template.jinja").write_text("{{ messages }}")
    assert inspect(qwen2).layers == 2


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "modeling_qwen.py", "a.gguf"])
def test_file_that_nobody_checked(qwen2: Path, name: str) -> None:
    (qwen2 / name).write_bytes(b"x")
    assert name in refused(qwen2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "marian", "architectures": ["MarianMTModel"]}, "is not a language model"),
        ({"architectures": ["Qwen2Model"]}, "is not a language model"),
        ({"auto_map": {}}, "auto_map"),
        ({"use_sliding_window": True}, "sliding window"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "'dynamic'"),
        ({"rope_scaling": {"type": "longrope"}}, "'longrope'"),
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "cannot share"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
    ],
)
def test_configuration_that_is_not_served(qwen2: Path, values: dict[str, Any], said: str) -> None:
    text.change(qwen2 / "config.json", **values)
    assert said in refused(qwen2)


def test_tokenizer_of_another_model(qwen2: Path) -> None:
    text.change(qwen2 / "tokenizer.json", added_tokens=[{"id": 5, "content": "x"}])
    assert "has 6 tokens, the model's vocab_size is 5" in refused(qwen2)
    text.change(qwen2 / "tokenizer.json", added_tokens=[{"content": "x"}])
    assert "not that of a tokenizer" in refused(qwen2)
    text.change(qwen2 / "tokenizer.json", model=None, added_tokens=[])
    assert "holds no vocabulary" in refused(qwen2)


def test_weights_in_parts(qwen2: Path) -> None:
    tensors = list(text.TENSORS["qwen2"].items())
    (qwen2 / "model.safetensors").unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, (tensor, shape) in zip(names, tensors, strict=True):
        (qwen2 / name).write_bytes(text.safetensors({tensor: shape}))
    placed = {tensor: name for name, (tensor, _) in zip(names, tensors, strict=True)}
    index = qwen2 / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    assert inspect(qwen2).parameters == 5 * 4 + 4 * 8
    index.write_text(json.dumps({"weight_map": placed | {tensors[1][0]: names[0]}}))
    assert "which is not so" in refused(qwen2)
    index.write_text(json.dumps({"weight_map": placed}))
    (qwen2 / names[1]).unlink()
    assert "which is not so" in refused(qwen2)
    (qwen2 / names[1]).write_bytes(b"\0" * 20)
    assert "damaged or cut short" in refused(qwen2)


def test_awq_is_recognised(packed: Path) -> None:
    found = inspect(packed).prequantised
    assert found == Prequantised("awq", 4, 128, is_symmetric=False, is_activation_ordered=False)
    facts = KIND.inspect(packed)
    assert (facts["prequantised_bits"], facts["prequantised_group_size"]) == (4, 128)


def test_gptq_is_recognised(packed: Path) -> None:
    text.change(packed / "config.json", quantization_config=text.GPTQ | {"desc_act": True})
    assert inspect(packed).prequantised == Prequantised(
        "gptq", 4, 64, is_symmetric=True, is_activation_ordered=True
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"quant_method": "bitsandbytes"}, "quantised by 'bitsandbytes'"),
        ({}, "quantised by None"),
        ([], "quantised by None"),
        (text.AWQ | {"bits": 3}, "AWQ of 3 bits"),
        (text.GPTQ | {"group_size": 0}, "in groups of 0"),
        (text.GPTQ | {"bits": "4"}, "GPTQ of '4' bits"),
    ],
)
def test_quantised_in_a_way_that_nothing_serves(packed: Path, values: Any, said: str) -> None:
    text.change(packed / "config.json", quantization_config=values)
    assert said in refused(packed)


def test_what_vllm_is_told(packed: Path) -> None:
    assert inspect(packed).prequantised is not None
    values = vllm_model("/models/qwen", dtype="float16", max_positions=4096, max_live=8, gpus=2)
    assert values["model"] == values["tokenizer"] == "/models/qwen"
    assert values["dtype"] == "float16"
    assert (values["max_model_len"], values["tensor_parallel_size"]) == (4096, 2)
    assert values["max_num_seqs"] == 8
    assert values["trust_remote_code"] is False
    json.dumps(values)


@pytest.mark.parametrize("wrong", [{"gpus": 0}, {"memory_share": 0.0}, {"max_live": 0}])
def test_what_vllm_cannot_be_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="at least 1"):
        vllm_model("m", **{"dtype": "auto", "max_positions": 9, "max_live": 8} | wrong)


def test_a_quantised_model_must_say_how_to_ask_it_too(packed: Path) -> None:
    (packed / "prompt.json").unlink()
    assert "nothing says how to ask it" in refused(packed)


@pytest.mark.parametrize(
    ("method", "bits", "precision"),
    [("awq", 4, None), ("gptq", 4, "int4_gptq"), ("gptq", 8, "int8_gptq")],
)
def test_what_tensorrt_llm_is_told(
    tmp_path: Path, method: Any, bits: int, precision: str | None
) -> None:
    packed = Prequantised(method, bits, 128, is_symmetric=True, is_activation_ordered=False)
    values = tensorrt_llm_parameters(
        packed, tmp_path, engine="/engines/1", tokenizer="/models/qwen", max_positions=2048
    )
    assert values["convert_checkpoint"].get("weight_only_precision") == precision
    assert values["convert_checkpoint"]["dtype"] == "float16"
    assert values["build"]["max_seq_len"] == "2048"
    assert values["config"]["gpt_model_path"] == "/engines/1"


@pytest.mark.parametrize(
    "packed",
    [
        Prequantised("gptq", 3, 128, is_symmetric=True, is_activation_ordered=False),
        Prequantised("gptq", 4, -1, is_symmetric=True, is_activation_ordered=False),
        Prequantised("gptq", 4, 128, is_symmetric=True, is_activation_ordered=True),
    ],
)
def test_what_tensorrt_llm_cannot_take(tmp_path: Path, packed: Prequantised) -> None:
    with pytest.raises(UserError, match="serve it by the vLLM backend"):
        tensorrt_llm_parameters(packed, tmp_path, engine="e", tokenizer="t", max_positions=9)


@pytest.mark.parametrize("kind", ["llm", "translation"])
def test_refused_variants_say_why(kind: str) -> None:
    chosen = kind_of(kind)
    assert chosen.refused
    assert not set(chosen.refused) & set(chosen.variants)
    for name, reason in chosen.refused.items():
        with pytest.raises(UserError, match=f"does not suit {kind}") as caught:
            recipe_of(kind, name)
        assert reason in str(caught.value)
