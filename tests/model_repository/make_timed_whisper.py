"""Run in the converter's environment: a tiny Whisper of two languages that writes times.

`python make_timed_whisper.py CHECKOUT FOLDER` writes FOLDER/variant as a conversion would, and
FOLDER/expected.npz: `waveforms`, and what Transformers decodes of them, by beams, with times.
Its weights are random; a bias makes it stop and start segments often enough.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as tokenizer_decoders
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
from transformers.generation.utils import GenerationMixin

WORDS = ["<unk>", *(f"▁w{number}" for number in range(30))]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>"]
SPECIAL += ["<|transcribe|>", "<|nospeech|>", "<|notimestamps|>"]
IDS = {word: number for number, word in enumerate([*WORDS, *SPECIAL])}
TIMES = 151
ASKED = ["<|startoftranscript|>", "<|de|>", "<|translate|>"]


def main(checkout: str, folder: Path) -> None:
    sys.path.insert(0, checkout)
    torch.manual_seed(3)
    torch.set_num_threads(1)
    model = new_model()
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=3)
    write_variant(folder, model, extractor)
    waveforms = sounds()
    features = extractor(list(waveforms), sampling_rate=16_000, return_tensors="pt").input_features
    expected = {f"beams{beams}": decoded(model, features, beams) for beams in (1, 3)}
    np.savez(folder / "expected.npz", waveforms=waveforms, **expected)


def new_model() -> Any:
    vocabulary = len(IDS) + TIMES
    config = WhisperConfig(
        vocab_size=vocabulary,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=150,
        max_target_positions=40,
        init_std=0.3,
        pad_token_id=IDS["<|endoftext|>"],
        bos_token_id=IDS["<|endoftext|>"],
        eos_token_id=IDS["<|endoftext|>"],
        decoder_start_token_id=IDS["<|startoftranscript|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.eos_token_id,
        language="en",
        task="transcribe",
        no_timestamps_token_id=IDS["<|notimestamps|>"],
        no_speech_token_id=IDS["<|nospeech|>"],
        max_initial_timestamp_index=20,
        suppress_tokens=[0, *(IDS[name] for name in SPECIAL[1:-1])],
        max_length=40,
    )
    model.generation_config.lang_to_id = {"<|en|>": IDS["<|en|>"], "<|de|>": IDS["<|de|>"]}
    model.generation_config.task_to_id = {
        name: IDS[f"<|{name}|>"] for name in ("transcribe", "translate")
    }
    return model


def write_variant(folder: Path, model: Any, extractor: Any) -> None:
    from pipelines.conversion.whisper.files import write_serving_files
    from pipelines.conversion.whisper.graphs import export_decoder, export_encoder

    variant = folder / "variant"
    variant.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel(IDS, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizer_decoders.Metaspace()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_serving_files(folder, variant, model, extractor)
    export_encoder(model, variant / "encoder.onnx")
    export_decoder(model, variant / "decoder.onnx")
    (variant / "variant.json").write_text(json.dumps({"recipe": {"format": "onnx"}}))


def sounds() -> Any:
    random = np.random.default_rng(4)
    time = np.arange(48_000) / 16_000
    tones = np.sin(2 * np.pi * random.uniform(100, 2000, (24, 1)) * time)
    return (0.2 * tones + 0.05 * random.standard_normal(tones.shape)).astype(np.float32)


def decoded(model: Any, features: Any, beams: int) -> Any:
    """Tokens with times after the prompt that is asked for, padded by end-of-text."""
    prompt = torch.tensor([[IDS[name] for name in ASKED]] * len(features))
    generation = model.generation_config
    rules = WhisperTimeStampLogitsProcessor(generation, begin_index=prompt.shape[1])
    config = GenerationConfig(
        num_beams=beams,
        early_stopping=beams > 1,
        # Whisper's own beams add up probabilities among what may follow, as the rules leave it.
        renormalize_logits=True,
        max_length=40,
        eos_token_id=generation.eos_token_id,
        pad_token_id=generation.eos_token_id,
        suppress_tokens=generation.suppress_tokens,
        decoder_start_token_id=generation.decoder_start_token_id,
    )
    with torch.inference_mode():
        # Whisper's own generate() would cut what was decoded into segments and join them again.
        found = GenerationMixin.generate(
            model,
            input_features=features,
            decoder_input_ids=prompt,
            generation_config=config,
            logits_processor=LogitsProcessorList([rules]),
        )
    rows = found.numpy()[:, prompt.shape[1] :]
    return np.pad(rows, ((0, 0), (0, 40 - rows.shape[1])), constant_values=generation.eos_token_id)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
