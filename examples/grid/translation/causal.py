"""A small Qwen2 that answers "translate: ...": a causal model with a prompt, as an LLM is served.

Its tokenizer is byte-level BPE, so any text can be asked; its prompt is in `prompt.json`, which
is what the conversion asks of a model that has no chat template.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

END = "<|endoftext|>"
TEMPLATE = "translate: {text}\n"
_WIDTH = 128
_POSITIONS = 128
_TOKENS = 480


def write_tokenizer(folder: Path, pairs: Sequence[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Train the tokenizer on prompts and answers, write it and `prompt.json`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_TOKENS,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (prompt(source) + target for source, target in pairs)
    tokenizer.train_from_iterator(texts, trainer)
    (folder / "prompt.json").write_text(json.dumps({"template": TEMPLATE, "stop": ["\n"]}) + "\n")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        model_max_length=_POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)
    return fast


def prompt(source: str) -> str:
    """What the model is asked for `source`."""
    return TEMPLATE.replace("{text}", source)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of 3 layers: tied embeddings, two query heads to a key head."""
    special = {
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=3 * _WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=_POSITIONS,
        tie_word_embeddings=True,
        initializer_range=0.05,
        **special,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(**special, max_new_tokens=64)
    return model


def save(folder: Path, model: Qwen2ForCausalLM) -> None:
    """Write `model` as float16 beside its tokenizer."""
    copy.deepcopy(model).half().save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read
