"""Seams of chunks: what two of them heard is kept once, whatever the cuts have broken."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.whisper.chunking import Chunk, cut
from model_repository.programs.whisper.stitching import stitch

RATE = 1000
WORDS = st.sampled_from("abcdefgh")


def joined(chunks: list[list[str]], reaches: list[int]) -> list[str]:
    ranges = stitch(chunks, reaches)
    kept = [chunk[slice(*one)] for chunk, one in zip(chunks, ranges, strict=True)]
    return [word for chunk in kept for word in chunk]


@given(chunks=st.lists(st.lists(WORDS, max_size=6), min_size=1, max_size=6))
def test_without_an_overlap_everything_is_kept(chunks: list[list[str]]) -> None:
    words = [word for chunk in chunks for word in chunk]
    assert joined(chunks, [0] * (len(chunks) - 1)) == words


@given(words=st.lists(WORDS, max_size=12))
def test_what_both_heard_is_said_once(words: list[str]) -> None:
    assert joined([words, words], [len(words)]) == words


@given(
    chunks=st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=6),
    reach=st.integers(0, 9),
)
def test_ranges_are_in_order_and_only_seams_lose_words(chunks: list[list[str]], reach: int) -> None:
    for number, ((begin, end), chunk) in enumerate(
        zip(stitch(chunks, [reach] * (len(chunks) - 1)), chunks, strict=True)
    ):
        assert 0 <= begin <= min(reach, len(chunk))
        assert min(begin, len(chunk) - reach) <= end <= len(chunk)
        assert begin <= end
        assert number or begin == 0


@given(words=st.lists(WORDS, min_size=1, max_size=6), reach=st.integers(1, 6))
def test_an_empty_neighbour_takes_nothing(words: list[str], reach: int) -> None:
    assert joined([words, []], [reach]) == words
    assert joined([[], words], [reach]) == words
    assert joined([[], [], words, []], [reach] * 3) == words


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("bin blue at f", "at f two now", "bin blue at f two now"),
        # Both cuts broke a word, and the model made another one of each.
        ("bin blue at f to", "that f two now", "bin blue at f two now"),
        ("bin blue at", "blue at f two", "bin blue at f two"),
        # One of them heard a word wrong within the overlap.
        ("a b c d e", "b x d e f", "a b c d e f"),
        # One of them missed a word.
        ("a b d e", "b c d e f", "a b d e f"),
        # Words that are really said twice, on both sides or across the seam.
        ("no no", "no no yes", "no no yes"),
        ("very very", "very good", "very very good"),
        ("one two", "three four", "one two three four"),
        # A single word that both heard, between two broken ones.
        ("set red by th", "y by three soon", "set red by three soon"),
    ],
)
def test_seams(left: str, right: str, expected: str) -> None:
    words = [left.split(), right.split()]
    assert " ".join(joined(words, [4])) == expected


def test_a_phrase_that_returns_far_from_the_seam_is_no_overlap() -> None:
    left = ["place", "blue", "at", "f", "two", "now", "set"]
    right = ["set", "red", "by", "place", "blue", "at", "f", "two", "now"]
    assert joined([left, right], [3]) == left + right[1:]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), count=st.integers(3, 40), overlap=st.integers(700, 1400))
def test_a_recogniser_that_breaks_words_is_put_together(
    data: st.DataObject, count: int, overlap: int
) -> None:
    """Words of .1 to .35 s; what a cut breaks is heard as nonsense; each overlap holds one word."""
    random = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    lengths = random.integers(100, 350, count)
    ends = np.cumsum(lengths)
    words = [f"w{number}" for number in range(count)]
    waveform = random.uniform(-1, 1, int(ends[-1])).astype(np.float32)
    chunks = cut(waveform, rate=RATE, window=3000, overlap=overlap)
    heard = [hear(words, ends, lengths, chunk) for chunk in chunks]
    reaches = [overlap // 100 + 2] * (len(chunks) - 1)
    assert joined(heard, reaches) == words


def hear(words: list[str], ends: np.ndarray, lengths: np.ndarray, chunk: Chunk) -> list[str]:
    said = []
    for word, end, length in zip(words, ends.tolist(), lengths.tolist(), strict=True):
        if end - length >= chunk.begin and end <= chunk.end:
            said.append(word)
        elif min(end, chunk.end) - max(end - length, chunk.begin) > 40:
            said.append(f"{word} broken at {chunk.begin if end > chunk.end else chunk.end}")
    return said


def speech(*seconds: float) -> np.ndarray:
    """Noise and silence in turn, for so many seconds each."""
    random = np.random.default_rng(7)
    parts = [
        random.uniform(-0.5, 0.5, int(length * RATE)) * (number % 2 == 0)
        for number, length in enumerate(seconds)
    ]
    return np.concatenate(parts).astype(np.float32)


def test_what_fits_is_not_cut() -> None:
    assert cut(speech(1, 0.5, 1.5), rate=RATE, window=3000, overlap=500) == (Chunk(0, 3000),)


def test_cuts_are_in_the_longest_pause_and_then_nothing_overlaps() -> None:
    found = cut(speech(1.5, 0.2, 0.8, 0.4, 2), rate=RATE, window=3000, overlap=500)
    assert found == (Chunk(0, 2700), Chunk(2700, 4900))


def test_without_a_pause_chunks_overlap() -> None:
    found = cut(speech(7), rate=RATE, window=3000, overlap=500)
    assert found == (Chunk(0, 3000), Chunk(2500, 5500), Chunk(5000, 7000))


def test_pauses_are_found_under_noise() -> None:
    waveform = speech(2, 0.4, 2, 0.4, 2)
    waveform += np.random.default_rng(1).normal(0, 0.03, waveform.size).astype(np.float32)
    found = cut(waveform, rate=RATE, window=3000, overlap=500)
    assert [2000 < one.end < 2400 or 4400 < one.end < 4800 for one in found[:-1]] == [True, True]


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.floats(0.05, 2.0), min_size=1, max_size=20),
    overlap=st.integers(0, 1500),
)
def test_chunks_cover_everything_within_the_window(lengths: list[float], overlap: int) -> None:
    waveform = speech(*lengths)
    found = cut(waveform, rate=RATE, window=3000, overlap=overlap)
    assert found[0].begin == 0
    assert found[-1].end == waveform.size
    assert all(0 < one.end - one.begin <= 3000 for one in found)
    assert len(found) <= 1 + 3 * waveform.size / 3000
    for left, right in pairwise(found):
        assert left.end - right.begin in (0, overlap)
        assert left.begin < right.begin
        assert left.end < right.end


@pytest.mark.parametrize("level", [0.0, 1e-9, 1.0])
def test_one_level_throughout_is_cut_at_the_window(level: float) -> None:
    waveform = np.full(7000, level, np.float32)
    found = cut(waveform, rate=RATE, window=3000, overlap=500)
    assert len(found) <= 8
    assert found[-1].end == 7000
