"""Finds the one line of an engine's log that says why it does not run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from infra.local.launch import START_MARK

if TYPE_CHECKING:
    from pathlib import Path

_TAIL_BYTES = 64 * 1024
_ERROR = re.compile(r'^E\d{4} [\d:.]+ \d+ \S+\] "?(?P<text>.*?)"?\s*$')
_NOISE = re.compile(r"(?i)cuda|failed to stop server|failed to load all models|^[+|\s-]*$")
_LONGEST = 400


def last_words(log: Path) -> str:
    """The last meaningful line since the last start: an error of Triton's, else any line.

    Empty when there is none.
    """
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    lines = text.rpartition(START_MARK)[2].splitlines()
    if START_MARK in text:
        lines = lines[1:]
    errors = [found["text"] for line in lines if (found := _ERROR.match(line))]
    for candidates in (errors, lines):
        meaningful = [line.strip() for line in candidates if not _NOISE.search(line)]
        if meaningful:
            return meaningful[-1][:_LONGEST]
    return ""
