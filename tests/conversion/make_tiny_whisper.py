"""Run in the converter's environment: write a tiny Whisper with random weights to a folder.

`python make_tiny_whisper.py FOLDER [SEED]`. Three-second window, 80 mel bands, width 32, a
word-level tokenizer with Whisper's special tokens. It says nothing sensible, but every part of a
real one is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

WORDS = [
    f"▁{word}"
    for word in [
        "bin",
        "lay",
        "place",
        "set",
        "blue",
        "green",
        "red",
        "white",
        "at",
        "by",
        "in",
        "with",
    ]
]
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


def main(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    vocabulary = {word: number for number, word in enumerate(["<unk>", *WORDS, *SPECIAL])}
    eos, start, language, task, _, no_timestamps = (vocabulary[word] for word in SPECIAL)
    config = WhisperConfig(
        vocab_size=len(vocabulary),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=150,
        max_target_positions=24,
        init_std=0.15,
        pad_token_id=eos,
        bos_token_id=eos,
        eos_token_id=eos,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=eos,
        bos_token_id=eos,
        pad_token_id=eos,
        forced_decoder_ids=[[1, language], [2, task], [3, no_timestamps]],
        no_timestamps_token_id=no_timestamps,
        suppress_tokens=[0, start, language, task, no_timestamps],
        begin_suppress_tokens=[eos],
        max_length=24,
    )
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[0],
        unk_token="<unk>",  # noqa: S106
        additional_special_tokens=SPECIAL[1:],
    ).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80, chunk_length=3).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
