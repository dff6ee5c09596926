"""Text that people and tokenizers read: UTF-8 from the first byte to the last, no control codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.intake.json_values import check_template
from registry.intake.pickles import is_pickle
from registry.intake.reading import Reading

if TYPE_CHECKING:
    from registry.intake.source import Source

_MAX_BYTES = 64 * 1024**2
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def read_text(source: Source) -> Reading:
    """Claim a text. Raises UserError when it is not UTF-8 or holds control codes."""
    _text(source)
    return Reading("text")


def read_template(source: Source) -> Reading:
    """Claim a Jinja chat template. Raises UserError when it reaches beyond its messages."""
    check_template(source, _text(source))
    return Reading("chat-template")


def _text(source: Source) -> str:
    content = source.whole(_MAX_BYTES, "a text")
    if is_pickle(content, is_whole=True):
        raise source.refused("is a pickle, which runs code when it is opened")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise source.refused(
            f"is no text: byte {error.start} is not UTF-8", "save it as UTF-8, or remove it"
        ) from error
    if found := _CONTROLS.search(text):
        raise source.refused(
            f"is no text: it holds the control code {ord(found.group()):#04x}", "remove it"
        )
    return text
