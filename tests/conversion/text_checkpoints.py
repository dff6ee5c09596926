"""Folders of models that write text, for tests: bare ones made of bytes, and tiny real ones."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from infra.environments.locks import CONVERTER
from pipelines.conversion.child import ConvertedVariant, convert
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.recipes import recipe_of

from ..warm_python import warm

if TYPE_CHECKING:
    from collections.abc import Callable

MAKER = Path(__file__).with_name("make_tiny_text.py")
MARIAN = {
    "architectures": ["MarianMTModel"],
    "model_type": "marian",
    "d_model": 4,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "vocab_size": 5,
    "max_position_embeddings": 16,
}
T5 = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_model": 4,
    "num_layers": 1,
    "vocab_size": 5,
}
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 5,
    "max_position_embeddings": 32,
    "tie_word_embeddings": True,
}
TENSORS: dict[str, dict[str, list[int]]] = {
    "marian": {
        "model.shared.weight": [5, 4],
        "final_logits_bias": [1, 5],
        "model.encoder.layers.0.fc2.weight": [4, 8],
        "model.decoder.layers.1.fc2.weight": [4, 8],
    },
    "t5": {
        "shared.weight": [5, 4],
        "encoder.block.0.layer.1.DenseReluDense.wo.weight": [4, 8],
        "decoder.block.0.layer.2.DenseReluDense.wo.weight": [4, 8],
    },
    "qwen2": {
        "model.embed_tokens.weight": [5, 4],
        "model.layers.1.mlp.down_proj.weight": [4, 8],
    },
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True, "desc_act": False}


def write_marian(folder: Path) -> Path:
    """A Marian that the inspector accepts; no framework could run it."""
    _write(folder, MARIAN, TENSORS["marian"])
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(sentencepiece("</s>", "<unk>", "a", "b"))
    words = ["</s>", "<unk>", "a", "b", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    return folder


def write_t5(folder: Path) -> Path:
    """A T5 that the inspector accepts."""
    _write(folder, T5, TENSORS["t5"])
    (folder / "spiece.model").write_bytes(sentencepiece("<pad>", "</s>", "<unk>", "a"))
    return folder


def write_qwen2(folder: Path) -> Path:
    """A Qwen2 that the inspector accepts."""
    _write(folder, QWEN2, TENSORS["qwen2"])
    tokenizer = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "prompt.json").write_text(json.dumps({"template": "say: {text}"}))
    return folder


def sentencepiece(*pieces: str) -> bytes:
    """The part of a SentencePiece model that holds its pieces."""
    texts = [piece.encode() for piece in pieces]
    messages = [bytes([0x0A, len(text)]) + text for text in texts]
    return b"".join(bytes([0x0A, len(message)]) + message for message in messages)


def safetensors(tensors: dict[str, list[int]]) -> bytes:
    """The bytes of a safetensors file of float16 zeros."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in tensors.items():
        begin, size = end, 2
        for length in shape:
            size *= length
        end = begin + size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes a key away."""
    merged = json.loads(path.read_text()) | values
    kept = {key: value for key, value in merged.items() if value is not None}
    path.write_text(json.dumps(kept))


def tiny(name: str, shared: Path, run_converter: Callable[..., str]) -> Path:
    """One of the maker's models of random weights, made once."""
    key = hashlib.sha256(MAKER.read_bytes() + CONVERTER.lock_hash.encode()).hexdigest()[:16]
    target = shared / f"sluice-tiny-{name}-{key}"
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not target.exists():
            staged = target.with_suffix(".staged")
            run_converter(MAKER, name, str(staged))
            staged.rename(target)
    return target


def convert_plainly(
    kind: str, source: Path, variants: tuple[str, ...], output: Path
) -> dict[str, ConvertedVariant]:
    """Variants made in a real child, without any calibration set."""
    made = convert(
        kind_of(kind).name,
        source,
        [recipe_of(kind, name) for name in variants],
        output,
        parent_digest="0" * 64,
        python=warm(CONVERTER),
        environment_hash=CONVERTER.lock_hash,
    )
    return {one.recipe.variant: one for one in made}


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, list[int]]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
