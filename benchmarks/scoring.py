"""Scoring and resampling against jiwer, on answers to simulated utterances, side by side.

`python -m benchmarks.scoring` prints, as its last line, JSON with the median seconds of three:
`score_s` and `jiwer_s` for the word counts of the same pairs, `answers_s` for every measure of
them as answers (normalising, words, characters, exact, empty, looping), `bootstrap_s` for one
interval of 10,000 utterances of 200 speakers with 10,000 resamples, `judge_s` for a whole gate of
them.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import jiwer
import numpy as np

from validation.answers import Answer
from validation.bootstrap import bootstrap_ratio
from validation.dataset import Dataset, Utterance
from validation.gate import judge
from validation.policy import GatePolicy
from validation.scoring import score_answers
from validation.words import count_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

UTTERANCES = 10_000
SPEAKERS = 200
RESAMPLES = 10_000
VOCABULARY = ("bin", "lay", "place", "set", "blue", "green", "red", "white", "at", "by", "now")
RUNS = 3
DIGEST = "0" * 64


def main(utterances: int = UTTERANCES, resamples: int = RESAMPLES) -> None:
    """Measure and print."""
    pairs = sentence_pairs(utterances)
    references, hypotheses = [left for left, _ in pairs], [right for _, right in pairs]
    counts = count_all(references, hypotheses, "words")
    expected = jiwer.process_words(references, hypotheses)
    theirs = [expected.substitutions, expected.deletions, expected.insertions]
    if counts[:, :3].sum(axis=0).tolist() != theirs:
        raise SystemExit("the counts are not jiwer's")
    errors, words = counts[:, :3].sum(axis=1), counts[:, 3]
    dataset, answers = _as_answers(pairs)
    result = {
        "utterances": utterances,
        "speakers": SPEAKERS,
        "resamples": resamples,
        "score_s": seconds(lambda: count_all(references, hypotheses, "words")),
        "jiwer_s": seconds(lambda: jiwer.process_words(references, hypotheses)),
        "answers_s": seconds(lambda: score_answers(dataset, answers, "basic")),
        "bootstrap_s": seconds(lambda: _bootstrap(errors, words, resamples)),
        "judge_s": seconds(_judging(pairs, resamples)),
    }
    result["jiwer_over_score"] = round(result["jiwer_s"] / result["score_s"], 1)
    print(json.dumps(result))


def sentence_pairs(count: int) -> list[tuple[str, str]]:
    """References of five to eight words, and hypotheses with about 5 % of them changed."""
    random = np.random.default_rng(5)
    pairs = []
    for _ in range(count):
        words = list(random.choice(VOCABULARY, random.integers(5, 9)))
        kinds = random.random(len(words))
        heard = [
            "wrong" if kind < 0.03 else f"{word} again" if kind < 0.04 else word
            for word, kind in zip(words, kinds, strict=True)
            if kind < 0.99
        ]
        pairs.append((" ".join(words), " ".join(heard)))
    return pairs


def seconds(work: Callable[[], object]) -> float:
    """Median wall time of a few runs, in seconds."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times), 4)


def _bootstrap(
    errors: NDArray[np.float64], words: NDArray[np.float64], resamples: int
) -> tuple[float, float]:
    speakers = np.arange(errors.size) % SPEAKERS
    found = bootstrap_ratio(errors, words, speakers, resamples=resamples, seed=1)
    return found.interval(0.95)


def _as_answers(pairs: list[tuple[str, str]]) -> tuple[Dataset, list[Answer]]:
    """A set of the references, and the hypotheses as what a model answered."""
    names = [f"{number:05d}" for number in range(len(pairs))]
    utterances = tuple(
        Utterance(name, Path(name), text, 1.0, MappingProxyType(_columns(number)))
        for number, (name, (text, _)) in enumerate(zip(names, pairs, strict=True))
    )
    nothing: MappingProxyType[str, str] = MappingProxyType({})
    dataset = Dataset(Path(), "bench", "speech", 16_000, DIGEST, utterances, nothing)
    return dataset, [Answer(name, text) for name, (_, text) in zip(names, pairs, strict=True)]


def _judging(pairs: list[tuple[str, str]], resamples: int) -> Callable[[], object]:
    """A gate of two limits and a margin, in the whole set and two slices."""
    dataset, answers = _as_answers(pairs)
    parent = [Answer(one.id, one.text) for one in dataset.utterances]
    policy = GatePolicy.model_validate(
        {"dataset": "bench", "sha256": DIGEST, "limits": {"wer": 0.1, "cer": 0.1}}
        | {"margins": {"parent": 0.1}, "resamples": resamples}
    )
    return lambda: judge(policy, dataset, answers, parent=parent)


def _columns(number: int) -> dict[str, str]:
    noise = "noisy" if number // SPEAKERS % 2 else "clean"
    return {"speaker": f"speaker {number % SPEAKERS}", "noise": noise}


if __name__ == "__main__":
    main()
