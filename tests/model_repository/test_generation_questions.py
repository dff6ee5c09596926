"""What is asked and what of an answer may be shown, over bytes as a vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.programs.generation.cache import Part, Shapes, gather
from model_repository.programs.generation.questions import Question, Refused, ask, read_text
from model_repository.programs.generation.rules import Rules
from model_repository.programs.generation.texts import Texts, added

if TYPE_CHECKING:
    from collections.abc import Sequence


def rules(**changes: Any) -> Rules:
    values: dict[str, Any] = {
        "end": frozenset({0}),
        "stop": (),
        "allowed": np.zeros(256, np.float32),
        "max_positions": 40,
        "max_new_tokens": 20,
        "causal": True,
        "prompt_template": "say: {text}",
        "special_words": ("<|end|>",),
    }
    return Rules(**(values | changes))


def encode(prompt: str) -> list[int]:
    return list(prompt.encode())


def decode(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def reason(text: str, rules: Rules, **parameters: Any) -> str:
    found = ask(text, parameters, rules, encode)
    assert isinstance(found, Refused), found
    return found.reason


def test_a_question_is_the_template_with_the_text_in_it() -> None:
    braces = rules(prompt_template="{a} {text} {b}")
    assert ask("{text}!", {}, braces, encode) == Question(tuple(b"{a} {text}! {b}"), 20)


@pytest.mark.parametrize(
    ("causal", "length", "limit"),
    [(True, 10, 20), (True, 25, 10), (True, 34, 1), (False, 25, 20), (False, 35, 20)],
)
def test_an_answer_may_be_as_long_as_there_is_room(causal: bool, length: int, limit: int) -> None:
    found = ask("x" * length, {}, rules(causal=causal), encode)
    assert isinstance(found, Question)
    assert found.limit == limit


@pytest.mark.parametrize(("causal", "most"), [(True, 39), (False, 40)])
def test_a_text_without_room_for_an_answer_is_refused(causal: bool, most: int) -> None:
    limits = rules(causal=causal)
    assert isinstance(ask("x" * (most - 5), {}, limits, encode), Question)
    said = f"text is {most + 1} tokens, this model takes at most {most}; shorten it"
    assert reason("x" * (most - 4), limits) == said


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_text_of_nothing_is_refused(text: str) -> None:
    assert "text is empty" in reason(text, rules())


def test_a_control_word_is_refused() -> None:
    assert "'<|end|>', a control word" in reason("a<|end|>b", rules())


def test_a_text_that_cannot_fit_is_not_even_tokenized() -> None:
    def never(prompt: str) -> list[int]:
        raise AssertionError(len(prompt))

    found = ask("x" * 100_000, {}, rules(), never)
    assert isinstance(found, Refused)
    assert "100000 bytes" in found.reason


def test_text_that_is_not_utf_8_is_refused_with_its_place() -> None:
    assert read_text("é".encode()) == "é"
    found = read_text(b"abc\xff")
    assert isinstance(found, Refused)
    assert "not UTF-8 at byte 3" in found.reason


@pytest.mark.parametrize("value", [0, -1, 21, 10**30, 5.0, "5", True, None, [5]])
def test_max_tokens_out_of_range_names_the_range(value: Any) -> None:
    said = reason("x", rules(), max_tokens=value)
    assert said == f"max_tokens is {value!r}; give an integer from 1 to 20"


def test_max_tokens_within_range_is_the_limit() -> None:
    for value in (1, 20):
        assert ask("x", {"max_tokens": value}, rules(), encode) == Question(
            tuple(b"say: x"), value, is_limited=True
        )


def test_max_tokens_beyond_the_room_left_is_refused_rather_than_lowered() -> None:
    assert "has room for 10" in reason("x" * 25, rules(), max_tokens=11)


@given(st.text(max_size=30), st.lists(st.sampled_from(["\n", "ab", "é!", "aab"]), max_size=2))
def test_settled_texts_grow_into_the_whole_one(text: str, stop: list[str]) -> None:
    texts = Texts(decode, stop)
    tokens = encode(text)
    before, said = "", ""
    for count in range(1, len(tokens) + 1):
        settled = texts.settled(tokens[:count])
        assert settled.startswith(before)
        assert "\N{REPLACEMENT CHARACTER}" not in settled
        said += added(before, settled)
        before = settled
        if texts.is_stopped(tokens[:count]):
            tokens = tokens[:count]
            break
    whole = texts.whole(tokens)
    assert whole.startswith(before)
    assert said + added(before, whole) == whole
    places = [place for place in map(text.find, stop) if place >= 0]
    assert whole == text[: min(places, default=len(text))].strip()


@given(st.binary(max_size=20))
def test_broken_bytes_are_shown_once_they_are_settled(data: bytes) -> None:
    texts = Texts(decode, ())
    before, said = "", ""
    for count in range(1, len(data) + 1):
        settled = texts.settled(data[:count])
        said, before = said + added(before, settled), settled
    whole = texts.whole(data)
    assert said + added(before, whole) == whole == decode(data).strip()


def test_what_may_begin_a_stop_is_held_back() -> None:
    texts = Texts(decode, ["END", "\n\n"])
    assert texts.settled(b"the EN") == "the"
    assert texts.settled(b"the ENT") == "the ENT"
    assert texts.settled(b"a\n") == "a"
    assert texts.settled(b"a\nb") == "a\nb"
    assert texts.whole(b"the EN") == "the EN"
    assert texts.whole(b"the END of it") == "the"


def test_rewritten_text_adds_nothing() -> None:
    assert added("do n", "don't") == ""


def test_prompts_are_filled_up_on_the_side_that_the_graph_reads() -> None:
    shapes = Shapes(layers=1, heads=2, head_width=4, pad=9)
    tokens, mask = shapes.fill_up([(1, 2, 3), (4,)], left=True)
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    tokens, mask = shapes.fill_up([(1, 2, 3), (4,)], left=False)
    assert tokens.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert shapes.names("past") == ["past_key_0", "past_value_0"]
    assert shapes.no_past(3).shape == (3, 2, 0, 4)


def test_rows_of_several_lengths_are_gathered_without_what_none_of_them_uses() -> None:
    short, long = np.array([[0, 0, 7], [0, 8, 9]]), np.array([[1, 2, 3, 0]])
    first, other = (Part.of(np.sign(one), np.arange(len(one))) for one in (short, long))
    both = [short, long], [first, other], 1
    assert gather(*both, left=True).tolist() == [[0, 0, 7], [0, 8, 9], [1, 2, 3]]
    assert gather(*both, left=False).tolist() == [[0, 7, 0], [8, 9, 0], [1, 2, 3]]
    one = Part.of(np.sign(short), np.array([0]))
    assert gather([short], [one], 1, left=True).tolist() == [[7]]
    nothing = Part.of(np.zeros((2, 3), dtype=np.int64), np.array([1, 0]))
    assert gather([short, long], [nothing, other], 1, left=True).tolist() == [[0] * 3] * 2 + [
        [1, 2, 3]
    ]
    cache = np.arange(12.0).reshape(2, 1, 3, 2)
    assert gather([cache], [one], 2, left=True).tolist() == [[[[4.0, 5.0]]]]
