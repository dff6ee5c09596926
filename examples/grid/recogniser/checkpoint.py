"""Models and their folders: shape, saving in float16, and cutting the window shorter.

A folder holds what Transformers writes and nothing else; weights are safetensors, never
pickles. The ids in `generation_config.json` come from the tokenizer, nowhere else.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import nn
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)

from recogniser import tokenizer as tokens
from speech.synthesis import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

HOP = 160
"""Samples from one feature frame to the next; the encoder halves the frames again."""
MAX_TOKENS = 32
_MEL_BINS = 80
_WIDTH = 128


def new_model(tokenizer: WhisperTokenizerFast, window: float) -> WhisperForConditionalGeneration:
    """Return an untrained model of 1.1 million parameters that hears `window` seconds."""
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=_MEL_BINS,
        d_model=_WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * _WIDTH,
        decoder_ffn_dim=4 * _WIDTH,
        max_source_positions=_positions(window),
        max_target_positions=MAX_TOKENS,
        # The default .02 suits a width of 1024; at 128 it stays at a WER of 80 %.
        init_std=0.08,
        begin_suppress_tokens=None,
        **_special_ids(tokenizer),
    )
    model = WhisperForConditionalGeneration(config)
    for convolution in (model.model.encoder.conv1, model.model.encoder.conv2):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    model.generation_config = _generation_config(tokenizer)
    return model


def save_checkpoint(
    folder: Path, model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizerFast
) -> None:
    """Write `model` as float16, its tokenizer and its feature extractor into `folder`."""
    window = model.config.max_source_positions * 2 * HOP / SAMPLE_RATE
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    feature_extractor(window).save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def shortened(
    model: WhisperForConditionalGeneration, window: float
) -> WhisperForConditionalGeneration:
    """Return a copy that hears `window` seconds: the encoder's position table is cut."""
    short = copy.deepcopy(model)
    count = _positions(window)
    encoder = short.model.encoder
    table = encoder.embed_positions.weight.data[:count].clone()
    encoder.embed_positions = nn.Embedding.from_pretrained(table, freeze=True)
    encoder.max_source_positions = count
    short.config.max_source_positions = count
    return short


def feature_extractor(window: float) -> WhisperFeatureExtractor:
    """Return the extractor of log-mel features for clips of `window` whole seconds."""
    if window != int(window):
        message = f"a window of {window} s: WhisperFeatureExtractor takes whole seconds only"
        raise ValueError(message)
    return WhisperFeatureExtractor(
        feature_size=_MEL_BINS, sampling_rate=SAMPLE_RATE, hop_length=HOP, chunk_length=int(window)
    )


def _positions(window: float) -> int:
    return round(window * SAMPLE_RATE / HOP / 2)


def _special_ids(tokenizer: WhisperTokenizerFast) -> dict[str, int]:
    end = tokenizer.convert_tokens_to_ids(tokens.END_OF_TEXT)
    start = tokenizer.convert_tokens_to_ids(tokens.START_OF_TRANSCRIPT)
    return {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }


def _generation_config(tokenizer: WhisperTokenizerFast) -> GenerationConfig:
    def id_of(token: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(token))

    return GenerationConfig(
        **_special_ids(tokenizer),
        is_multilingual=True,
        language="en",
        task="transcribe",
        return_timestamps=False,
        lang_to_id={tokens.ENGLISH: id_of(tokens.ENGLISH)},
        task_to_id={
            "translate": id_of(tokens.TRANSLATE),
            "transcribe": id_of(tokens.TRANSCRIBE),
        },
        forced_decoder_ids=[[at, id_of(token)] for at, token in enumerate(tokens.PROMPT) if at],
        no_speech_token_id=id_of(tokens.NO_SPEECH),
        no_timestamps_token_id=id_of(tokens.NO_TIMESTAMPS),
        prev_sot_token_id=id_of(tokens.START_OF_PREVIOUS),
        max_length=MAX_TOKENS,
    )
