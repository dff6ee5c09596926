"""Run in the converter's environment: write a tiny model that writes text, with random weights.

`python make_tiny_text.py NAME FOLDER`. They say nothing sensible, but every part of a real one is
there, and each is of another make than the trained example models.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
    T5TokenizerFast,
)

SENTENCES = [
    "the red box is on the table",
    "please come back tomorrow at nine",
    "how many books are there?",
    "nobody has seen the white cat since monday.",
    "place red by d four soon",
    "set white in a zero please",
] * 20
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|user|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|answer|>{% endif %}"
)


def t5(folder: Path) -> None:
    """The first T5: ReLU, a tied head, `spiece.model`, and rows that no piece has."""
    _pieces(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    T5Tokenizer(str(folder / "spiece.model"), extra_ids=4).save_pretrained(folder)
    (folder / "added_tokens.json").unlink(missing_ok=True)
    model = T5ForConditionalGeneration(_t5_config(initializer_factor=1.5))
    model.generation_config = GenerationConfig(
        decoder_start_token_id=0, eos_token_id=1, pad_token_id=0, max_new_tokens=12
    )
    _save(model, folder)


def t5_gated(folder: Path) -> None:
    """T5 v1.1: gated GELU, a head of its own, `tokenizer.json`, heads wider than the model."""
    pieces = _pieces(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / "spiece.model").unlink()
    scored = [(pieces.id_to_piece(n), pieces.get_score(n)) for n in range(len(pieces))]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=4).save_pretrained(folder)
    prompt = {"template": "translate English to Spanish: {text}", "max_new_tokens": 12}
    (folder / "prompt.json").write_text(json.dumps(prompt))
    config = _t5_config(
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, d_kv=12, num_decoder_layers=3
    )
    _save(T5ForConditionalGeneration(config), folder)


def marian_of_two_languages(folder: Path) -> None:
    """A Marian that is told by its first token which language to write."""
    for name in ("source.spm", "target.spm"):
        pieces = _pieces(folder / name)
    own = [pieces.id_to_piece(number) for number in range(3, len(pieces))]
    words = ["</s>", "<unk>", ">>es<<", ">>fr<<", *own, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "prompt.json").write_text(json.dumps({"template": ">>fr<< {text}"}))
    files = (str(folder / name) for name in ("source.spm", "target.spm", "vocab.json"))
    MarianTokenizer(*files).save_pretrained(folder)
    config = MarianConfig(
        vocab_size=len(words),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=64,
        max_position_embeddings=96,
        scale_embedding=True,
        init_std=0.3,
        pad_token_id=len(words) - 1,
        decoder_start_token_id=len(words) - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
    )
    model = MarianMTModel(config)
    model.final_logits_bias.normal_()
    model.generation_config = GenerationConfig(
        pad_token_id=len(words) - 1,
        decoder_start_token_id=len(words) - 1,
        eos_token_id=0,
        bad_words_ids=[[len(words) - 1]],
        max_length=16,
        num_beams=4,
    )
    _save(model, folder)


def llama(folder: Path) -> None:
    """A chat model: a head of its own, scaled rotary positions, two end tokens, a BOS."""
    special = ["<s>", "</s>", "<|user|>", "<|end|>", "<|answer|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[1],
        chat_template=CHAT,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=320,  # more rows than tokens
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=96,
        initializer_range=0.4,
        tie_word_embeddings=False,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 24,
        },
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    # What such a checkpoint samples with is not what is served.
    model.generation_config = GenerationConfig(
        bos_token_id=0,
        eos_token_id=[1, 3],
        do_sample=True,
        temperature=0.7,
        repetition_penalty=1.3,
        max_new_tokens=12,
    )
    _save(model, folder)


MAKERS = {
    "t5": t5,
    "t5-gated": t5_gated,
    "marian-of-two-languages": marian_of_two_languages,
    "llama": llama,
}


def _t5_config(**others: object) -> T5Config:
    values: dict[str, object] = {
        "vocab_size": 128,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 16,
        "decoder_start_token_id": 0,
    }
    return T5Config(**values | others)


def _pieces(path: Path, **options: int) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=80,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
        **options,
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def _save(model: torch.nn.Module, folder: Path) -> None:
    model.save_pretrained(folder)


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True)
    torch.manual_seed(5)
    MAKERS[sys.argv[1]](target)
