"""The files beside the graphs: what a server needs to hear, to decode and to write text.

They hold everything that the serving program knows about a model, so it needs neither
Transformers nor the checkpoint. Runs in the converter's environment.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor.json"
FILTERS = "mel_filters.npy"
DECODING = "decoding.json"
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")
_FIRST_TIME = "<|0.00|>"
_MAX_INITIAL_TIMESTAMP = 50  # one second: Whisper's own default (whisper/decoding.py)


def write_serving_files(source: Path, folder: Path, model: Any, extractor: Any) -> None:
    """Write the tokenizer, `preprocessor.json` with its filter bank, and `decoding.json`.

    Raises UserError when the checkpoint does not say what a transcript starts with.
    """
    shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    np.save(folder / FILTERS, np.asarray(extractor.mel_filters, dtype=np.float32))
    (folder / PREPROCESSOR).write_bytes(canonical_json(_preprocessor(extractor)) + b"\n")
    decoding = decoding_values(source, model)
    (folder / DECODING).write_bytes(canonical_json(decoding) + b"\n")


def _preprocessor(extractor: Any) -> dict[str, Any]:
    return {
        "sample_rate": int(extractor.sampling_rate),
        "window_samples": int(extractor.n_samples),
        "n_fft": int(extractor.n_fft),
        "hop_length": int(extractor.hop_length),
        "mel_bands": int(extractor.feature_size),
        "filters": FILTERS,
    }


def decoding_values(source: Path, model: Any) -> dict[str, Any]:
    """Prompts, special ids, suppressed ids and sizes, from the checkpoint's own configuration.

    `prompt` is what a transcript starts with unless a request asks for another `languages` or
    `tasks` entry. `timestamps` is null when the vocabulary has no tokens for times.
    """
    config, generation = model.config, model.generation_config
    tokenizer = _tokenizer(source)
    prompt = _prompt(source, generation)
    longest = min(config.max_target_positions, generation.max_length or config.max_target_positions)
    languages = _languages(generation, config)
    tasks = _known(getattr(generation, "task_to_id", None), config)
    return {
        "prompt": prompt,
        "start": prompt[0],
        "languages": languages,
        "language": _named(languages, prompt),
        "tasks": tasks,
        "task": _named(tasks, prompt),
        "no_timestamps": next(iter(_no_timestamps(generation)), None),
        "timestamps": _timestamps(generation, config, tokenizer),
        "end_of_text": _single(generation.eos_token_id),
        "no_speech": _no_speech(generation, tokenizer),
        "suppressed": _ids(generation, config, "suppress_tokens"),
        "suppressed_at_start": _ids(generation, config, "begin_suppress_tokens"),
        "max_length": longest,
        "max_new_tokens": longest - len(prompt),
        "vocabulary_size": config.vocab_size,
        "decoder_layers": config.decoder_layers,
        "attention_heads": config.decoder_attention_heads,
        "head_width": config.d_model // config.decoder_attention_heads,
    }


def _tokenizer(source: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(source / TOKENIZER))


def _languages(generation: Any, config: Any) -> dict[str, int]:
    """Ids of the language tokens by code, `en` for `<|en|>`."""
    named = _known(getattr(generation, "lang_to_id", None), config)
    return {name.removeprefix("<|").removesuffix("|>"): token for name, token in named.items()}


def _known(ids: Mapping[str, int] | None, config: Any) -> dict[str, int]:
    """Those that the decoder can read: a cut vocabulary keeps the names of what was cut."""
    return {name: int(token) for name, token in (ids or {}).items() if token < config.vocab_size}


def _named(ids: Mapping[str, int], prompt: list[int]) -> str | None:
    return next((name for name, token in ids.items() if token in prompt), None)


def _timestamps(generation: Any, config: Any, tokenizer: Any) -> dict[str, Any] | None:
    """Tokens of times: one for each encoder position and one for the end, after no-timestamps.

    Older tokenizers leave them out of their file; then the size of the vocabulary tells.
    """
    if (before := getattr(generation, "no_timestamps_token_id", None)) is None:
        return None
    begin, count = int(before) + 1, config.max_source_positions + 1
    fits = begin + count <= config.vocab_size
    named = tokenizer.token_to_id(_FIRST_TIME)
    if not fits or named not in (None, begin):
        return None
    latest = getattr(generation, "max_initial_timestamp_index", None)
    return {
        "begin": begin,
        "count": count,
        "max_initial": _MAX_INITIAL_TIMESTAMP if latest is None else int(latest),
    }


def _prompt(source: Path, generation: Any) -> list[int]:
    """Start, language, task, no timestamps: as `language` and `task` say, else the older key."""
    start = _single(generation.decoder_start_token_id)
    languages = getattr(generation, "lang_to_id", None) or {}
    language = getattr(generation, "language", None)
    if languages and language:
        tokens = [start, _language_id(source, languages, language)]
        tasks = getattr(generation, "task_to_id", None) or {}
        task = getattr(generation, "task", None) or "transcribe"
        tokens += [tasks[task]] if task in tasks else []
        return [*tokens, *_no_timestamps(generation)]
    forced = getattr(generation, "forced_decoder_ids", None) or []
    if languages and not any(token in languages.values() for _, token in forced):
        raise UserError(
            "the checkpoint speaks several languages and does not say which one to write",
            where=str(source / "generation_config.json"),
            remedy='add "language", for example "en", and "task", for example "transcribe"',
        )
    tokens = [start, *(token for _, token in sorted(forced) if token is not None)]
    return tokens + [token for token in _no_timestamps(generation) if token not in tokens]


def _language_id(source: Path, languages: dict[str, int], language: str) -> int:
    name = language if language.startswith("<|") else f"<|{language}|>"
    if name not in languages:
        raise UserError(
            f"language {language!r} is not one of lang_to_id",
            where=str(source / "generation_config.json"),
            remedy=f"use one of {', '.join(sorted(languages)[:8])}",
        )
    return int(languages[name])


def _no_timestamps(generation: Any) -> list[int]:
    token = getattr(generation, "no_timestamps_token_id", None)
    return [] if token is None else [int(token)]


def _no_speech(generation: Any, tokenizer: Any) -> int | None:
    if (token := getattr(generation, "no_speech_token_id", None)) is not None:
        return int(token)
    found = (tokenizer.token_to_id(name) for name in _NO_SPEECH)
    return next((int(number) for number in found if number is not None), None)


def _single(value: int | list[int]) -> int:
    return int(value[0] if isinstance(value, list) else value)


def _ids(generation: Any, config: Any, key: str) -> list[int]:
    values = getattr(generation, key, None)
    if values is None:
        values = getattr(config, key, None)
    return sorted({int(value) for value in values or []})
