"""Numbers that were spoken digit by digit: a telephone's or an identity card's in a transcript.

English and Vietnamese. Seven digits in a row or more are taken for somebody's number, unless they
count up or down.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST = 7
_ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_VIETNAMESE = ["không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"]
_OTHERWISE = {"oh": 0, "mốt": 1, "tư": 4, "lăm": 5, "bẩy": 7}
_DIGITS = {
    word: digit for words in (_ENGLISH, _VIETNAMESE) for digit, word in enumerate(words)
} | _OTHERWISE
_REPEATS = {"double": 2, "triple": 3}
_WORD = re.compile(r"\w+")


def spoken_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Where such numbers begin and end in `text`."""
    digits: list[int] = []
    begin = end = 0
    times = 1
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in _REPEATS:
            times = _REPEATS[word]
            begin = begin if digits else match.start()
            continue
        digit = _digit(word)
        if digit is None or (digits and not _joins(text[end : match.start()], times)):
            if _is_number(digits):
                yield begin, end
            digits = []
        if digit is not None:
            begin = begin if digits or times > 1 else match.start()
            digits += [digit] * times
            end = match.end()
        times = 1
    if _is_number(digits):
        yield begin, end


def _digit(word: str) -> int | None:
    return int(word) if len(word) == 1 and word.isdigit() else _DIGITS.get(word)


def _joins(between: str, times: int) -> bool:
    """Whether only spaces, commas or dashes, and a word such as `double`, part two digits."""
    words = _WORD.findall(between)
    return len(words) == (times > 1) and not re.sub(r"[\w\s,-]", "", between)


def _is_number(digits: list[int]) -> bool:
    steps = {(after - before) % 10 for before, after in pairwise(digits)}
    return len(digits) >= _LEAST and steps not in ({1}, {9}, {0})
