"""What a model's tokens mean and how long it may write, as the conversion wrote it down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Options:
    """How one transcript is decoded. Requests with equal options share a batch."""

    prompt: tuple[int, ...]
    timestamps: bool = False
    """Whether tokens of times are written; the prompt then lacks the no-timestamps token."""
    beam_size: int = 1


@dataclass(frozen=True)
class Timestamps:
    """Tokens of times: `begin` is second 0, the last of `count` ids is the window's end."""

    begin: int
    count: int
    max_initial: int
    """The latest position at which a first segment may start."""


@dataclass(frozen=True)
class Rules:
    """Token ids and bounds of one model's decoding."""

    prompt: tuple[int, ...]
    """What a transcript starts with unless a request asks for something else."""
    end_of_text: int
    no_speech: int | None
    max_length: int
    """Most tokens of a transcript, those of its prompt included."""
    allowed: NDArray[np.float32]
    """0 for tokens that may be chosen, minus infinity for others, [vocabulary]."""
    allowed_at_start: NDArray[np.float32]
    """The same, for the first token of a transcript."""
    languages: Mapping[str, int]
    language: str | None
    tasks: Mapping[str, int]
    task: str | None
    no_timestamps: int | None
    timestamps: Timestamps | None

    @classmethod
    def load(cls, folder: Path) -> Rules:
        """The rules of the variant in `folder`."""
        values = json.loads((folder / "decoding.json").read_bytes())
        allowed = np.zeros(values["vocabulary_size"], dtype=np.float32)
        allowed[values["suppressed"]] = -np.inf
        at_start = allowed.copy()
        at_start[values["suppressed_at_start"]] = -np.inf
        return cls(
            prompt=tuple(values["prompt"]),
            end_of_text=values["end_of_text"],
            no_speech=values["no_speech"],
            max_length=values["max_length"],
            allowed=allowed,
            allowed_at_start=at_start,
            languages=values["languages"],
            language=values["language"],
            tasks=values["tasks"],
            task=values["task"],
            no_timestamps=values["no_timestamps"],
            timestamps=Timestamps(**values["timestamps"]) if values["timestamps"] else None,
        )

    @cached_property
    def options(self) -> Options:
        """What a request without parameters gets."""
        return Options(self.prompt)

    def language_of(self, prompt: tuple[int, ...]) -> str | None:
        """The language that a prompt asks for; None when the model knows no languages."""
        return next((name for name, token in self.languages.items() if token in prompt), None)

    def prompt_of(
        self, language: str | None, task: str | None, *, timestamps: bool
    ) -> tuple[int, ...]:
        """The prompt of a transcript in `language` by `task`; None is the model's own."""
        prompt = list(self.prompt)
        if language is not None or task is not None:
            names = ((self.languages, language or self.language), (self.tasks, task or self.task))
            prompt = [prompt[0], *(ids[name] for ids, name in names if name is not None)]
            prompt += [] if self.no_timestamps is None else [self.no_timestamps]
        return tuple(token for token in prompt if not timestamps or token != self.no_timestamps)
