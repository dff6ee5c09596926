"""Loops are found where they are, and not where the reference repeats itself too."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.looping import is_looping

SPEECH = "he hoped there would be stew for dinner turnips and carrots and bruised potatoes"


@pytest.mark.parametrize(
    "answer",
    [
        "no no no no no no",
        "place blue at place blue at place blue at",
        "thank you thank you thank you now",
        "bin white " + "so on and so on and on then " * 3,
        "he said " + SPEECH + " " + " ".join(["a b c d e f g h"] * 3) + " and left",
        "哈" * 40,
        (SPEECH + " ") * 4,
    ],
)
def test_a_loop(answer: str) -> None:
    assert is_looping(answer, "bin blue at f two now")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no no no no no",
        "at at at",
        "place blue at place blue at",
        SPEECH,
        "a b c d e f g h i " * 2,
        "b a b c b d b e b f b g b h",
    ],
)
def test_no_loop(answer: str) -> None:
    assert not is_looping(answer, "bin blue at f two now")


def test_what_was_said_is_no_loop() -> None:
    assert not is_looping("no no no no no no no", "no no no no no no")
    assert not is_looping("ha " * 50, "ha " * 49)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 8), st.integers(1, 6))
def test_the_phrase_rule_is_the_slow_one(words: list[str], period: int, times: int) -> None:
    words = words + words[-period:] * times
    text = " ".join(words)
    expected = any(
        words[start : start + size] * repeats == words[start : start + size * repeats]
        for size in range(1, 9)
        for repeats in (max(3, -(-6 // size)),)
        for start in range(len(words) - size * repeats + 1)
    )
    compressed = len(text) >= 64 and len(text) > 2.4 * len(zlib.compress(text.encode()))
    assert is_looping(text, "other") == (expected or compressed)
