"""Normalisers settle, are the ones they are named after, and are refused when there is none."""

# ruff: noqa: RUF001 - texts that are read from right to left

from __future__ import annotations

import hashlib
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from registry.errors import UserError
from validation.normalisers import NORMALISERS, normaliser_id, normaliser_of
from validation.words import count_errors

if TYPE_CHECKING:
    from pathlib import Path

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SETTLING = ("none", "basic")


@given(texts)
@settings(max_examples=500, deadline=None)
@example("e'\u0301")
@example("\u1e9e\u0345 \ufb03\u2026")
def test_normalising_twice_changes_nothing(text: str) -> None:
    for name in SETTLING:
        once = normaliser_of(name)(text)
        assert normaliser_of(name)(once) == once
        assert once == " ".join(once.split())


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_ascii_has_no_way_of_its_own(text: str) -> None:
    # A letter that is not ASCII, as a word of its own, sends the text the long way.
    assert (
        normaliser_of("basic")(text + " \u00e9") == f"{normaliser_of('basic')(text)} \u00e9".strip()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Bin\tBLUE \n at  ", "bin blue at"),
        ("Don't stop; well-known!", "dont stop well known"),
        ("don\u2019t", "dont"),
        ("Straße ÉCOLE cafe\u0301", "strasse école café"),
        ("ﬁve \uff12 km²", "five 2 km2"),
        ("zero\u200bwidth", "zerowidth"),
        ("50% $3 <unk>", "50 3 unk"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),
        ("?!…", ""),
    ],
)
def test_basic(text: str, expected: str) -> None:
    assert normaliser_of("basic")(text) == expected


def test_none_keeps_case_and_punctuation() -> None:
    assert normaliser_of("none")(" Don't  STOP! ") == "Don't STOP!"


@pytest.mark.parametrize("text", ["Café résumé naïve", "Việt Nam", "한국어 텍스트", "ﬃ Å"])
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_how_accents_are_composed_is_no_error(text: str, form: str) -> None:
    composed = unicodedata.normalize(form, text)  # type: ignore[arg-type]
    assert count_errors(text, composed, "basic").errors == 0
    assert count_errors(text, composed, "none").errors == (
        0 if text == composed else sum(map(str.__ne__, text.split(), composed.split()))
    )


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("שלום עולם", "\u200fשלום\u200e עולם\u200f"),
        ("مرحبا بالعالم", "\u202bمرحبا بالعالم\u202c"),
        ("مرحبا", "\u2067مرحبا\u2069؟"),
        ("می‌خواهم", "میخواهم"),
    ],
)
def test_controls_of_direction_are_no_error(said: str, heard: str) -> None:
    assert count_errors(said, heard, "basic").errors == 0
    assert count_errors(said, heard, "none").errors > 0


def test_vowel_marks_are_letters_to_basic_and_spaces_to_whispers_basic() -> None:
    assert count_errors("שָׁלוֹם", "שלום", "basic").substitutions == 1
    assert count_errors("שָׁלוֹם", "שלום", "whisper-basic").reference_length == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith won't pay twenty five dollars", "mister smith will not pay $25"),
        ("the colour of 1,000 [noise] theatres (laughs)", "the color of 1000 theaters"),
        ("I'm uh gonna", "i am going to"),
    ],
)
def test_whisper_english(text: str, expected: str) -> None:
    assert normaliser_of("whisper-english")(text) == expected


@given(texts)
@settings(max_examples=200, deadline=None)
def test_whispers_are_whispers(text: str) -> None:
    ours, theirs = normaliser_of("whisper-basic"), BasicTextNormalizer()
    assert ours(text) == " ".join(theirs(text).split())
    ours, theirs = normaliser_of("whisper-english"), EnglishTextNormalizer()
    assert ours(text) == " ".join(theirs(text).split())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's, where Python finds it."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_users_function_is_named_and_hashed(own: Path) -> None:
    source = "def digits(text):\n    return text.replace('two', ' 2 ')\n"
    (own / "ours_hashed.py").write_text(source)
    assert normaliser_of("ours_hashed:digits")(" at two  now") == "at 2 now"
    expected = hashlib.sha256(source.encode()).hexdigest()
    assert normaliser_id("ours_hashed:digits") == f"ours_hashed:digits (sha256 {expected})"
    assert count_errors("two", "2", "ours_hashed:digits").errors == 0


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        ("", "ours_a:digits", "cannot be imported: AttributeError"),
        ("raise RuntimeError('no')", "ours_b:digits", "cannot be imported: RuntimeError: no"),
        ("digits = 3", "ours_c:digits", "is not a function"),
        ("", "ours_not_there:digits", "cannot be imported: ModuleNotFoundError"),
        ("", "whisper", "there is no normaliser 'whisper'"),
        ("", "a b:c", "there is no normaliser"),
        ("", "", "there is no normaliser"),
        ("digits = len", "ours_d:digits", "no source to hash"),
    ],
)
def test_what_is_no_normaliser_is_refused(own: Path, source: str, name: str, reason: str) -> None:
    for letter in "abcd":
        if name.startswith(f"ours_{letter}:"):
            (own / f"ours_{letter}.py").write_text(source)
    with pytest.raises(UserError, match=reason):
        normaliser_id(name)


def test_a_users_function_that_breaks_says_so(own: Path) -> None:
    (own / "ours_broken.py").write_text(
        "def up(text):\n    return 1 / 0\n\n\nnone = lambda t: None\n"
    )
    with pytest.raises(UserError, match="raised ZeroDivisionError"):
        normaliser_of("ours_broken:up")("a")
    with pytest.raises(UserError, match="returned NoneType"):
        normaliser_of("ours_broken:none")("a")


def test_built_in_ones_are_recorded_by_name() -> None:
    recorded = {name: normaliser_id(name) for name in NORMALISERS}
    assert recorded["none"] == "none"
    assert recorded["basic"] == "basic"
    assert recorded["whisper-english"].startswith("whisper-english (whisper-normalizer 0.")
