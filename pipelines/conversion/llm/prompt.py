"""What a question to a language model is wrapped in: `prompt.json`, else the chat template.

A chat template is a program in Jinja; here it is run once, in the sandbox of Transformers, around
a mark in the place of the question, and what stands before and after the mark is the prompt that
is served. Runs in the converter's environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.text_source import PROMPT, QUESTION, Prompt, prompt_of
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_MARK = "question-of-the-user-0f3a"
_CLOCK = "strftime_now"


def prompt_for(source: Path, tokenizer: Any) -> tuple[Prompt, bool]:
    """The prompt, and whether the tokenizer adds its own ids around it.

    A chat template already writes them; Transformers adds none after one. Raises UserError for a
    template that asks for the time, or does not hold the question once.
    """
    if written := prompt_of(source):
        return written, True
    where = str(source)
    remedy = f"write what it gives into {PROMPT}"
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise UserError("holds several chat templates", where=where, remedy=remedy)
    if _CLOCK in template:
        raise UserError(
            f"its chat template asks for the time ({_CLOCK}), so no answer could be had again",
            where=where,
            remedy=remedy,
        )
    said = tokenizer.apply_chat_template(
        [{"role": "user", "content": _MARK}], tokenize=False, add_generation_prompt=True
    )
    if said.count(_MARK) != 1 or QUESTION in said:
        raise UserError(
            "its chat template does not hold the question once", where=where, remedy=remedy
        )
    return Prompt(said.replace(_MARK, QUESTION)), False
