"""How often a gate is wrong: simulated evaluations, judged by the gate's own rules.

    python -m benchmarks.gate_power --seed 1 --sets 2000

The last line of the output is one JSON object. In each set, speakers differ in skill and answer
several utterances; a candidate differs from its parent in some of them. One candidate is equal to
its parent in truth, one is worse by exactly the margin. `false_refusal` is the share of equal ones
that did not pass (failed or inconclusive), `false_fail` of those that failed, `false_pass` the
share of the worse ones that passed, `coverage` that of the intervals of all that hold the truth.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from validation.measures import Measure
from validation.policy import GatePolicy
from validation.questions import Case, quality_checks
from validation.scoring import Scores
from validation.slices import WHOLE, Slice
from validation.verdict import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from validation.evidence import Check

WORDS = 6


@dataclass(frozen=True)
class Design:
    """One simulated evaluation and how it is judged."""

    speakers: int = 40
    utterances: int = 25
    """Of each speaker, spread evenly over the slices."""
    rate: float = 0.05
    """Word error rate of both systems."""
    concentration: float = 20.0
    """Of the beta distribution of the speakers' skill: 20 is a coefficient of variation of 0.95."""
    changed: float = 0.1
    """Share of utterances that the candidate answers afresh, as well or as badly as its parent."""
    margin: float = 0.01
    """Over the parent, in the whole set and in every slice."""
    slices: int = 0
    method: Literal["bootstrap", "randomisation"] = "bootstrap"
    resamples: int = 1000

    @property
    def policy(self) -> GatePolicy:
        """The gate that judges it."""
        return GatePolicy.model_validate(
            {
                "dataset": "simulated",
                "sha256": "0" * 64,
                "slices": ["noise"],
                "method": self.method,
                "resamples": self.resamples,
                "margins": {"parent": self.margin},
            }
        )

    @property
    def parts(self) -> tuple[Slice, ...]:
        """The whole set, and its slices."""
        speakers = np.repeat(np.arange(self.speakers), self.utterances)
        every = np.arange(speakers.size)
        names = every % max(self.slices, 1)
        return (
            Slice(WHOLE, every, speakers),
            *(
                Slice(f"noise={name}", every[names == name], speakers[names == name])
                for name in range(self.slices)
            ),
        )


@dataclass(frozen=True)
class Judged:
    """The checks of one simulated set: of an equal candidate, and of one worse by the margin."""

    equal: tuple[Check, ...]
    worse: tuple[Check, ...]


def simulate(design: Design, *, sets: int, seed: int) -> Iterator[Judged]:
    """Draw sets and judge them."""
    random = np.random.default_rng(seed)
    policy, parts = design.policy, design.parts
    for _ in range(sets):
        skill = random.beta(
            design.rate * design.concentration,
            (1 - design.rate) * design.concentration,
            design.speakers,
        )
        skill = np.repeat(skill, design.utterances)
        parent = random.binomial(WORDS, skill)
        afresh = random.binomial(WORDS, skill)
        equal = np.where(random.random(skill.size) < design.changed, afresh, parent)
        # The harm differs between speakers as skill does, and is the margin on average.
        harm = design.margin / design.rate * random.permutation(skill.reshape(design.speakers, -1))
        worse = equal + random.binomial(WORDS, np.minimum(harm.ravel(), 1.0))
        yield Judged(
            *(
                tuple(
                    quality_checks(
                        Case(policy, parts, _scores(errors), {"parent": _scores(parent)})
                    )
                )
                for errors in (equal, worse)
            )
        )


def shares(design: Design, *, sets: int, seed: int) -> dict[str, float]:
    """What happened, as shares of the sets."""
    judged = list(simulate(design, sets=sets, seed=seed))
    equal = [worst(check.verdict for check in one.equal) for one in judged]
    harmed = [worst(check.verdict for check in one.worse) for one in judged]
    held = [
        check.low <= truth <= check.high
        for one in judged
        for checks, truth in ((one.equal, 0.0), (one.worse, design.margin))
        for check in checks
        if check.baseline and check.low is not None and check.high is not None
    ]
    chances = [
        check.power.passes_if_equal or 0.0
        for one in judged
        for check in one.equal
        if check.power is not None and check.slice == WHOLE
    ]
    return {
        "false_refusal": share(one is not Verdict.PASS for one in equal),
        "false_fail": share(one is Verdict.FAIL for one in equal),
        "false_pass": share(one is Verdict.PASS for one in harmed),
        "fails_at_margin": share(one is Verdict.FAIL for one in harmed),
        "fails_at_margin_uncorrected": share(any(map(_beyond, one.worse)) for one in judged),
        "coverage": share(held),
        "power_stated": round(float(np.median(chances)), 4),
    }


def share(flags: Iterator[bool] | list[bool]) -> float:
    """Of the flags that are true."""
    return round(float(np.mean(list(flags))), 4)


def measure(*, sets: int, seed: int) -> dict[str, Any]:
    """All figures, as one JSON value."""
    started = time.perf_counter()
    plain = Design()
    sliced = Design(utterances=100, slices=20, margin=0.04)
    figures = {
        **shares(plain, sets=sets, seed=seed),
        "randomisation": shares(replace(plain, method="randomisation"), sets=sets, seed=seed + 1),
        "uneven_speakers": shares(replace(plain, concentration=6.0), sets=sets, seed=seed + 2),
        "too_small": shares(replace(plain, changed=0.6), sets=max(sets // 2, 2), seed=seed + 3),
        "slices_20": shares(sliced, sets=max(sets // 10, 2), seed=seed + 4),
    }
    return {
        **figures,
        "settings": {**asdict(plain), "words": WORDS, "confidence": plain.policy.confidence},
        "sets": sets,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sets", type=int, default=2000)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(sets=given.sets, seed=given.seed)))


def _beyond(check: Check) -> bool:
    """Whether the interval alone would fail it."""
    return check.low is not None and check.limit is not None and check.low > check.limit


def _scores(errors: NDArray[np.int64]) -> Scores:
    words = np.full(errors.size, float(WORDS))
    return Scores({"wer": Measure.ratio(errors, words)}, errors=("",) * errors.size)


if __name__ == "__main__":
    main()
