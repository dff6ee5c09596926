"""A small Marian, in the files that Helsinki-NLP uses: two SentencePiece models, one vocabulary.

What decides is in the configuration: 64 positions are enough for any sentence of the grammar and
keep the table of positions small.
"""

from __future__ import annotations

import copy
import io
import json
from typing import TYPE_CHECKING

import sentencepiece
from transformers import GenerationConfig, MarianConfig, MarianMTModel, MarianTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

END, UNKNOWN, PADDING = "</s>", "<unk>", "<pad>"
_WIDTH = 128
_POSITIONS = 64
_PIECES = 160


def write_tokenizer(folder: Path, pairs: Sequence[tuple[str, str]]) -> MarianTokenizer:
    """Train both SentencePiece models on `pairs`, write them and their vocabulary; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[str] = []
    for side, name in enumerate(("source", "target")):
        model = _sentencepiece([pair[side] for pair in pairs])
        (folder / f"{name}.spm").write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        pieces += [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    own = sorted(set(pieces) - {END, UNKNOWN, PADDING, "<s>"})
    vocabulary = {piece: number for number, piece in enumerate([END, UNKNOWN, *own, PADDING])}
    path = folder / "vocab.json"
    path.write_text(json.dumps(vocabulary, ensure_ascii=False, indent=1) + "\n", "utf-8")
    tokenizer = MarianTokenizer(
        str(folder / "source.spm"),
        str(folder / "target.spm"),
        str(path),
        source_lang="en",
        target_lang="es",
        model_max_length=_POSITIONS,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def new_model(tokenizer: MarianTokenizer) -> MarianMTModel:
    """An untrained Marian of 2 + 2 layers for that vocabulary."""
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    special = {
        "eos_token_id": end,
        "pad_token_id": padding,
        "decoder_start_token_id": padding,
        "forced_eos_token_id": end,
    }
    config = MarianConfig(
        vocab_size=len(tokenizer.encoder),
        d_model=_WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=3 * _WIDTH,
        decoder_ffn_dim=3 * _WIDTH,
        max_position_embeddings=_POSITIONS,
        activation_function="swish",
        scale_embedding=True,
        share_encoder_decoder_embeddings=True,
        init_std=0.05,
        dropout=0.1,
        bos_token_id=end,
        **special,
    )
    model = MarianMTModel(config)
    model.generation_config = GenerationConfig(
        **special, bos_token_id=end, bad_words_ids=[[padding]], max_length=_POSITIONS, num_beams=1
    )
    return model


def save(folder: Path, model: MarianMTModel) -> None:
    """Write `model` as float16 beside its tokenizer."""
    copy.deepcopy(model).half().save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def _sentencepiece(sentences: Sequence[str]) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=_PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        # The usual rule for Unicode is a table of 220 kB, and changes nothing in these texts.
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
