"""In which script a text is written, by the names of Unicode's characters."""

from __future__ import annotations

import unicodedata
from collections import Counter

_LETTERS = 200
"""Letters that are looked at: a text is written in one script, or begins with the main one."""


def script_of(text: str) -> str | None:
    """The script of most of the first letters, such as `latin`, `cyrillic` or `cjk`.

    It is the first word of the letters' names in the Unicode Character Database, in lower case;
    None for a text without letters.
    """
    seen: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            seen[unicodedata.name(character, "unknown").split()[0].split("-")[0].lower()] += 1
            if seen.total() == _LETTERS:
                break
    return seen.most_common(1)[0][0] if seen else None
