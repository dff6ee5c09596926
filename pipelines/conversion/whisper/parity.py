"""How far each variant's numbers are from PyTorch's, on real sounds or on made-up ones.

The reference is Transformers' own forward pass over the whole sequence; the variant goes through
its cache, prompt first and then token by token, as a server would. It never says whether a
difference is small enough: quantised logits may move by 1 with no token changed, so that is the
gate's question, asked of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.whisper.graphs import cross_names, past_names
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe

_STEPS = 32  # A longer probe of a large model costs minutes and shows nothing new.


@dataclass(frozen=True)
class Reference:
    """PyTorch's answers: features [N, M, F], hidden [N, P, W], tokens [N, T], logits [N, T, V].

    `tokens` is prompt and greedy transcript but its last token, padded by end-of-text; `used`
    [N, T] marks the positions whose logits choose a token of the transcript.
    """

    features: NDArray[np.float32]
    hidden: NDArray[np.float32]
    tokens: NDArray[np.int64]
    logits: NDArray[np.float32]
    used: NDArray[np.bool_]
    prompt: int


def reference(
    model: Any,
    extractor: Any,
    decoding: Mapping[str, Any],
    sounds: Sequence[NDArray[np.float32]],
) -> Reference:
    """Decode the sounds, float32 [samples] each, greedily with PyTorch, without any cache."""
    import torch

    features = extractor(
        list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt"
    ).input_features
    prompt, end = decoding["prompt"], decoding["end_of_text"]
    banned = torch.zeros(decoding["vocabulary_size"])
    banned[decoding["suppressed"]] = -torch.inf
    at_start = banned.clone()
    at_start[decoding["suppressed_at_start"]] = -torch.inf
    with torch.inference_mode():
        hidden = model.model.encoder(features).last_hidden_state
        tokens = torch.tensor([prompt] * len(sounds))
        for step in range(min(decoding["max_new_tokens"], _STEPS)):
            logits = model(encoder_outputs=(hidden,), decoder_input_ids=tokens).logits
            chosen = (logits[:, -1] + (banned if step else at_start)).argmax(-1)
            ended = (tokens[:, len(prompt) :] == end).any(-1)
            chosen = torch.where(ended, end, chosen)
            if bool((ended | (chosen == end)).all()):
                break
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        logits = model(encoder_outputs=(hidden,), decoder_input_ids=tokens).logits
    before_end = (tokens[:, len(prompt) :] != end).cumprod(-1).bool().numpy()
    used = np.zeros(tokens.shape, dtype=bool)
    used[:, len(prompt) - 1] = True
    used[:, len(prompt) :] = before_end
    return Reference(
        features.numpy(), hidden.numpy(), tokens.numpy(), logits.numpy(), used, len(prompt)
    )


def decoder_feed(
    model: Any, decoding: Mapping[str, Any], features: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """What the decoder's graph takes in its first call after `features` [1, M, F]."""
    import torch

    from pipelines.conversion.whisper.graphs import Encoder

    layers = decoding["decoder_layers"]
    with torch.inference_mode():
        _, *cross = Encoder(model)(torch.from_numpy(features))
    empty = np.zeros((1, decoding["attention_heads"], 0, decoding["head_width"]), np.float32)
    return {
        "tokens": np.array([decoding["prompt"]], dtype=np.int64),
        **dict.fromkeys(past_names(layers), empty),
        **{name: one.numpy() for name, one in zip(cross_names(layers), cross, strict=True)},
    }


def measure(
    recipe: Recipe, folder: Path, reference: Reference, decoding: Mapping[str, Any]
) -> dict[str, float]:
    """The variant's differences from `reference`, over the positions that choose tokens.

    `token_agreement` is the share of positions with PyTorch's most probable token,
    `agreement` the share of sounds for which greedy decoding gives the same tokens.
    Raises PermanentEngineError when the variant computes NaN or infinity.
    """
    runtime = _Runtime(recipe, folder, decoding)
    hidden, cross = runtime.encode(reference.features)
    logits = _logits(runtime, reference, cross, decoding)
    if not (np.isfinite(hidden).all() and np.isfinite(logits).all()):
        raise PermanentEngineError(
            f"the variant {recipe.variant!r} computes NaN or infinity on plain sounds",
            remedy="leave it out of the variants, or check the checkpoint's weights",
        )
    used = reference.used
    off = np.abs(logits - reference.logits)[used]
    same = _choices(logits, reference, decoding) == _choices(reference.logits, reference, decoding)
    return {
        "sounds": float(len(used)),
        "tokens": float(used.sum()),
        "hidden_max": float(np.abs(hidden - reference.hidden).max()),
        "logits_max": float(off.max()),
        "logits_mean": float(off.mean()),
        "token_agreement": float(same[used].mean()),
        "agreement": float((same | ~used).all(-1).mean()),
    }


def _logits(
    runtime: _Runtime,
    reference: Reference,
    cross: list[NDArray[np.float32]],
    decoding: Mapping[str, Any],
) -> NDArray[np.float32]:
    shape = (len(reference.tokens), decoding["attention_heads"], 0, decoding["head_width"])
    past = [np.zeros(shape, np.float32)] * (2 * decoding["decoder_layers"])
    ends = [reference.prompt, *range(reference.prompt + 1, reference.tokens.shape[1] + 1)]
    parts, begin = [], 0
    for end in ends:
        logits, past = runtime.decode(reference.tokens[:, begin:end], past, cross)
        parts.append(logits)
        begin = end
    return np.concatenate(parts, axis=1)


def _choices(
    logits: NDArray[np.float32], reference: Reference, decoding: Mapping[str, Any]
) -> NDArray[np.int64]:
    allowed = logits.copy()
    allowed[..., decoding["suppressed"]] = -np.inf
    allowed[:, reference.prompt - 1, decoding["suppressed_at_start"]] = -np.inf
    return np.asarray(allowed.argmax(-1), dtype=np.int64)


class _Runtime:
    """The variant's two graphs as a server would run them."""

    def __init__(self, recipe: Recipe, folder: Path, decoding: Mapping[str, Any]) -> None:
        suffix = "onnx" if recipe.format == "onnx" else "xml"
        self._encoder, self._decoder = (
            open_graph(folder / f"{graph}.{suffix}", threads=2) for graph in ("encoder", "decoder")
        )
        layers = decoding["decoder_layers"]
        self._past, self._present = past_names(layers), past_names(layers, "present")
        self._cross = cross_names(layers)

    def encode(self, features: NDArray[Any]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        result = self._encoder({"input_features": features})
        return result["encoder_hidden"], [result[name] for name in self._cross]

    def decode(
        self, tokens: NDArray[Any], past: list[NDArray[Any]], cross: list[NDArray[Any]]
    ) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        names = ["tokens", *self._past, *self._cross]
        result = self._decoder(dict(zip(names, [tokens, *past, *cross], strict=True)))
        return result["logits"], [result[name] for name in self._present]


def probe(samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Eight sounds of `samples` samples in [-1, 1]: silence, noises, a sweep, spoken-like vowels.

    Nothing in them is speech; they cover the level and the spectrum that speech has.
    """
    random = np.random.default_rng(20)
    time = np.arange(samples) / sample_rate
    white = random.standard_normal((3, samples))
    sweep = np.sin(2 * np.pi * (100 + 900 * time / time[-1]) * time)
    vowels = [_vowel(time, pitch, random) for pitch in (90.0, 140.0, 220.0)]
    sounds = [
        np.zeros(samples),
        0.1 * white[0],
        0.003 * white[1],
        0.3 * sweep,
        *(0.2 * vowel for vowel in vowels),
        0.2 * vowels[1] + 0.02 * white[2],
    ]
    return np.asarray(np.clip(np.stack(sounds), -1, 1), dtype=np.float32)


def _vowel(
    time: NDArray[np.float64], pitch: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Harmonics under two moving formants, switched on and off about four times a second."""
    harmonics = np.arange(1, 20)[:, None] * pitch
    formants = 500 + 300 * np.sin(2 * np.pi * random.uniform(1, 3) * time)
    upper = 1500 + 500 * np.sin(2 * np.pi * random.uniform(1, 3) * time)
    gain = np.exp(-(((harmonics - formants) / 150) ** 2))
    gain += 0.5 * np.exp(-(((harmonics - upper) / 200) ** 2))
    syllables = np.clip(2 * np.sin(2 * np.pi * 4 * time), 0, 1)
    return np.asarray((gain * np.sin(2 * np.pi * harmonics * time)).sum(0) * syllables)
