"""A reference and an answer, word under word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from validation.report_alignment import Pair, align
from validation.words import count_words

WORDS = st.lists(st.sampled_from(["lay", "red", "at", "b", "nine", "soon"]), max_size=12)


def test_each_edit_stands_at_its_place() -> None:
    assert align("lay red at b", "lay hat at b now") == (
        Pair("same", "lay", "lay"),
        Pair("substituted", "red", "hat"),
        Pair("same", "at", "at"),
        Pair("same", "b", "b"),
        Pair("inserted", "", "now"),
    )
    assert align("lay red", "red") == (Pair("deleted", "lay", ""), Pair("same", "red", "red"))


def test_an_answer_that_is_not_there_deletes_every_word() -> None:
    assert [pair.edit for pair in align("bin blue", "")] == ["deleted", "deleted"]
    assert align("", "") == ()


@given(WORDS, WORDS)
def test_edits_are_those_that_were_counted_and_both_texts_can_be_read(
    reference: list[str], answer: list[str]
) -> None:
    pairs = align(" ".join(reference), " ".join(answer))
    counts = count_words(" ".join(reference), " ".join(answer))
    edits = [pair.edit for pair in pairs]
    assert edits.count("substituted") == counts.substitutions
    assert edits.count("deleted") == counts.deletions
    assert edits.count("inserted") == counts.insertions
    assert [pair.reference for pair in pairs if pair.reference] == reference
    assert [pair.answer for pair in pairs if pair.answer] == answer


def test_a_script_without_spaces_is_aligned_by_its_characters() -> None:
    assert [pair.edit for pair in align("今天下午", "今天上午去")] == [
        "same",
        "same",
        "substituted",
        "same",
        "inserted",
    ]
