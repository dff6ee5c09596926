"""A variant that answers: waveforms in, transcripts and what tells of their quality out.

Audio longer than the model's window is cut into chunks when the release's options say so. All
chunks of all requests that are decoded alike share the engine's batches. Knows no server.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.answers import Outcome
from ..common.audio import describe
from ..common.audio import refusal as audio_refusal
from ..common.features import LogMel
from ..common.quality import describe_text
from . import parameters as wishes
from .chunking import Chunk, cut
from .decoding import decode
from .engines import load_engine
from .rules import Rules
from .segments import segments, spoken
from .settings import LongAudio
from .stitching import stitch
from .tokens import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ..common.answers import Settings
    from .decoding import Sequence as Decoded
    from .rules import Options
    from .segments import Spoken

    Waveform = NDArray[np.float32]

_ROWS = 64
"""Most rows of the decoder's batch: chunks and beams multiply what the requests bring."""
_CROSS_BYTES = 2**30
"""Most memory for the keys and values of what those rows hear, above that of the requests."""


@dataclass(frozen=True)
class _Heard:
    """One request: how it was decoded, and what of each of its chunks."""

    seconds: float
    options: Options
    decoded: tuple[Decoded, ...]
    parts: tuple[Spoken, ...]
    """What is kept of the chunks: each token that two of them heard once."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens of text, those of times left out."""
        return tuple(token for part in self.parts for token in part.tokens)

    @property
    def average_log_probability(self) -> float:
        """Over the tokens chosen in all chunks."""
        chosen = sum(one.chosen for one in self.decoded)
        return sum(one.average_log_probability * one.chosen for one in self.decoded) / chosen

    @property
    def entropy(self) -> float | None:
        """Over the tokens chosen in all chunks; None when one of them does not know."""
        known = [(one.entropy, one.chosen) for one in self.decoded if one.entropy is not None]
        if len(known) < len(self.decoded):
            return None
        return sum(entropy * count for entropy, count in known) / sum(c for _, c in known)

    @property
    def is_cut_off(self) -> bool:
        """Whether the model came to its longest text in one of the chunks."""
        return any(one.is_cut_off for one in self.decoded)

    @property
    def no_speech_probability(self) -> float:
        """That of the chunk where speech is likeliest."""
        return min(one.no_speech_probability for one in self.decoded)


class Transcriber:
    """Features, decoding and text of one variant."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._features = LogMel.load(folder)
        self._long = LongAudio.read(settings.options, self._window_s)
        self._rules = Rules.load(folder)
        self._vocabulary = Vocabulary(folder)
        self._engine = load_engine(folder, settings)
        positions = self._features.window_samples // self._features.hop_length // 2
        affordable = _CROSS_BYTES // self._engine.shapes.cross_bytes(positions)
        self._rows = min(_ROWS, affordable)
        self.execution_devices = self._engine.execution_devices
        """The devices that really compute, by the runtime's own account."""

    @property
    def _window_s(self) -> float:
        return self._features.window_samples / self._features.sample_rate

    def refusal(self, question: Waveform, parameters: Mapping[str, Any]) -> str:
        """See Answerer: the waveform [n] and every parameter must be sound."""
        rate = self._features.sample_rate
        longest = round(self._long.longest_s * rate)
        return audio_refusal(question, parameters, rate=rate, longest=longest) or wishes.refusal(
            parameters, self._rules
        )

    def describe(self, question: Waveform) -> Mapping[str, Any]:
        """See Answerer."""
        return describe(question, self._features.sample_rate)

    def answer(
        self, questions: Sequence[Waveform], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """See Answerer."""
        options = [wishes.options_of(one, self._rules) for one in parameters]
        chunks = [self._cut(waveform) for waveform in questions]
        decoded = self._decode(questions, options, chunks)
        rows = zip(questions, options, chunks, decoded, strict=True)
        heard = [self._heard(row.size, wish, parts, said) for row, wish, parts, said in rows]
        texts = self._vocabulary.texts([one.tokens for one in heard])
        return [self._outcome(one, text) for one, text in zip(heard, texts, strict=True)]

    def _cut(self, waveform: Waveform) -> tuple[Chunk, ...]:
        rate = self._features.sample_rate
        overlap = round(self._long.overlap_s * rate)
        return cut(waveform, rate=rate, window=self._features.window_samples, overlap=overlap)

    def _decode(
        self,
        waveforms: Sequence[Waveform],
        options: Sequence[Options],
        chunks: Sequence[Sequence[Chunk]],
    ) -> list[tuple[Decoded, ...]]:
        """What is decoded of each waveform's chunks; those decoded alike share batches."""
        alike: dict[Options, list[tuple[int, Waveform]]] = defaultdict(list)
        for row, (waveform, wish, parts) in enumerate(zip(waveforms, options, chunks, strict=True)):
            alike[wish] += [(row, waveform[part.begin : part.end]) for part in parts]
        found: list[list[Decoded]] = [[] for _ in waveforms]
        for wish, pieces in alike.items():
            size = max(1, max(self._rows, len(waveforms)) // wish.beam_size)
            for begin in range(0, len(pieces), size):
                batch = pieces[begin : begin + size]
                features = self._features([piece for _, piece in batch])
                sequences = decode(self._engine, self._rules, wish, features)
                for (row, _), sequence in zip(batch, sequences, strict=True):
                    found[row].append(sequence)
        return [tuple(one) for one in found]

    def _heard(
        self,
        samples: int,
        options: Options,
        chunks: tuple[Chunk, ...],
        decoded: tuple[Decoded, ...],
    ) -> _Heard:
        rate, times = self._features.sample_rate, self._rules.timestamps
        step_s = self._window_s / (times.count - 1) if times else 0.0
        parts = [
            spoken(
                one.tokens,
                times,
                begin_s=chunk.begin / rate,
                end_s=chunk.end / rate,
                step_s=step_s,
            )
            for chunk, one in zip(chunks, decoded, strict=True)
        ]
        if len(parts) > 1:
            ranges = stitch(
                [self._vocabulary.keys(part.tokens) for part in parts], _reaches(chunks, parts)
            )
            parts = [part.part(*kept) for part, kept in zip(parts, ranges, strict=True)]
        return _Heard(samples / rate, options, decoded, tuple(parts))

    def _outcome(self, heard: _Heard, text: str) -> Outcome:
        about = describe_text(
            text,
            heard.tokens,
            heard.average_log_probability,
            entropy=heard.entropy,
            fallback=heard.is_cut_off,
        )
        about["no_speech_probability"] = heard.no_speech_probability
        about["language"] = self._rules.language_of(heard.options.prompt)
        signals = ("average_log_probability", "token_count", "compression_ratio")
        outputs = {
            "transcript": text,
            "no_speech_probability": heard.no_speech_probability,
            "segments": self._segments(heard),
            **{name: about[name] for name in signals},
        }
        return Outcome(outputs, about | {"chars_per_s": len(text) / heard.seconds})

    def _segments(self, heard: _Heard) -> str:
        """A JSON list of objects: `start` and `end` in seconds, `text`. Empty unless asked for."""
        if not heard.options.timestamps:
            return "[]"
        found = segments(heard.parts)
        texts = self._vocabulary.texts([tokens for _, _, tokens in found])
        rows = [
            {"start": round(begin, 2), "end": round(end, 2), "text": text}
            for (begin, end, _), text in zip(found, texts, strict=True)
        ]
        return json.dumps(rows, ensure_ascii=False)


def _reaches(chunks: Sequence[Chunk], parts: Sequence[Spoken]) -> list[int]:
    """How many tokens the overlap of each two neighbours may hold, generously."""
    found = []
    for left, right, *said in zip(chunks[:-1], chunks[1:], parts[:-1], parts[1:], strict=True):
        shared = left.end - right.begin
        rates = [
            len(part.tokens) / (chunk.end - chunk.begin)
            for chunk, part in zip((left, right), said, strict=True)
        ]
        found.append(round(1.5 * shared * max(rates)) + 2 if shared else 0)
    return found
