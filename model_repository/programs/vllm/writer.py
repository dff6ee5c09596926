"""A variant that answers: texts in, completions with their signals out. Knows no server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..common.answers import Outcome
from ..common.quality import compression_ratio, describe_text
from ..common.scripts import script_of
from ..common.unknown import unknown_rate, unknown_token
from .engine import Engine, Written
from .questions import MAX_TOKENS, Question, Refused, Rules, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.answers import Settings


class Writer:
    """Prompts and answers of one variant; vLLM computes in another Triton model."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Read the rules and the tokenizer in `folder`."""
        from tokenizers import Tokenizer

        self._rules = Rules.load(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = unknown_token(self._tokenizer, folder / "tokenizer.json")
        self._engine = Engine(settings.options["engine"], int(settings.options["release"]))

    def refusal(self, question: NDArray[Any], parameters: Mapping[str, Any]) -> str:
        """Why a request with this text must be refused; empty when it is sound."""
        asked = self._ask(question, parameters)
        return asked.reason if isinstance(asked, Refused) else ""

    def answer(
        self, questions: Sequence[NDArray[Any]], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """An outcome for each text, all of which `refusal` let pass.

        Raises RuntimeError when the engine fails or computes what is not a number.
        """
        return [
            self._outcome(self._ask(question, own))
            for question, own in zip(questions, parameters, strict=True)
        ]

    def describe(self, question: NDArray[Any]) -> Mapping[str, Any]:
        """What the prediction log keeps of a text: of what sort it is, never what it says."""
        text = (data := bytes(question[0])).decode(errors="replace")
        whole = self._rules.prompt_template.replace("{text}", text)
        prompt = self._encode(whole) if len(data) <= self._rules.longest_bytes else []
        return {
            "input_chars": len(text),
            "script": script_of(text),
            "unknown_token_rate": unknown_rate(prompt, self._unknown),
        }

    def _ask(self, question: NDArray[Any], parameters: Mapping[str, Any]) -> Question | Refused:
        return ask(bytes(question[0]), parameters, self._rules, self._encode)

    def _encode(self, prompt: str) -> Sequence[int]:
        # As vLLM does, with the ids that the tokenizer puts around a prompt.
        return list(self._tokenizer.encode(prompt).ids)

    def _outcome(self, question: Question | Refused) -> Outcome:
        if isinstance(question, Refused):
            raise RuntimeError(question.reason)  # noqa: TRY004 - no caller gave a wrong type
        written = self._engine.write(question.prompt, question.sampling)
        if not math.isfinite(written.log_probability):
            raise RuntimeError(f"its log-probability is {written.log_probability}")
        text = written.text.strip()
        average = written.log_probability / max(1, written.tokens)
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        return Outcome(
            outputs={
                "completion": text,
                "average_log_probability": average,
                "token_count": written.tokens,
                "compression_ratio": compression_ratio(text),
            },
            record=describe_text(text, tokens, average, fallback=_is_cut_off(question, written))
            | {"token_count": written.tokens},
        )


def _is_cut_off(question: Question, written: Written) -> bool:
    """Whether the model came to its own longest answer; vLLM's backend gives no other sign."""
    return not question.is_limited and written.tokens >= question.sampling[MAX_TOKENS]
