"""How often a release is rolled back for what the world did, and how soon for what it did itself.

`python -m benchmarks.drift_attribution [--seed N] [--runs R]` simulates R cases (2,000) of each
kind, a pair a session, with alpha 1 %, looked at after every block: 25 pairs at first, later 5 % of
those so far. A case that says `data` goes on, as it does in the product, up to 20,000 pairs: what
counts as a rollback is that it ever says `model`. One JSON object on the last line: the share of
cases with each word, and the median number of pairs to it.

The outputs of a pair are independent of each other given the input, and inputs differ not at all:
the hardest case, since what both releases get wrong tells nothing. `alike` says what it gives when
half of the previous release's bad outputs are on inputs that the current one gets wrong as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canary.pairs import BAD, BLOCK_GROWTH
from drift.attribution import Attribution, AttributionPlan, attribution_name
from drift.pair_blocks import PairBlock
from drift.policy import DriftPolicy

if TYPE_CHECKING:
    from canary.pairs import Values

POLICY = DriftPolicy()
USUAL = (400, 10_000)
"""Bad outputs of the previous release before: 4 %."""
BLOCK = 25
RUNS = 2000


@dataclass(frozen=True)
class World:
    """Shares of bad outputs by both releases, and of those by both at once."""

    previous: float
    current: float
    both: float

    @classmethod
    def independent(cls, previous: float, current: float) -> World:
        """Each release errs by itself."""
        return cls(previous, current, previous * current)


WORLDS = {
    "nothing changed": World.independent(0.04, 0.04),
    "world changed": World.independent(0.12, 0.12),
    "world changed a lot": World.independent(0.4, 0.4),
    "model worse": World.independent(0.04, 0.08),
    "model worse, alike": World(0.04, 0.08, 0.02),
    "both": World.independent(0.12, 0.2),
}


def main(arguments: list[str]) -> int:
    """Simulate every world; a last line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    asked = parser.parse_args(arguments)
    result: dict[str, Any] = {"seed": asked.seed, "runs": asked.runs, "alpha": 0.01}
    for name in asked.worlds:
        rng = np.random.default_rng([asked.seed, list(WORLDS).index(name)])
        result[name] = measure(rng, WORLDS[name], asked.runs)
        print(f"{name}: {result[name]}", flush=True)
    print(json.dumps(result))
    return 0


def measure(rng: np.random.Generator, world: World, runs: int) -> dict[str, Any]:
    """Shares of cases that ever said each word, and the median pairs to it."""
    said = [run(rng, world) for _ in range(runs)]
    words = sorted({word for one in said for word in one})
    return {
        "rolled_back": sum("model" in one for one in said) / runs,
        "said": {word: sum(word in one for one in said) / runs for word in words},
        "median_pairs": {
            word: float(np.median([one[word] for one in said if word in one])) for word in words
        },
    }


def run(rng: np.random.Generator, world: World) -> dict[str, int]:
    """One case: after how many pairs it first said what it said."""
    attribution = Attribution.begun(AttributionPlan.of(POLICY, POLICY.attribution_alpha, USUAL))
    chances = [
        world.both,
        world.previous - world.both,
        world.current - world.both,
        1 - world.previous - world.current + world.both,
    ]
    said: dict[str, int] = {}
    while attribution.pairs < POLICY.most_pairs:
        size = max(BLOCK, int(BLOCK_GROWTH * attribution.pairs))
        attribution = attribution.after(block_of(rng.multinomial(size, chances).tolist()))
        word = attribution_name(attribution.outcome(1.0))
        if word != "not enough":
            said.setdefault(word, attribution.pairs)
        if word in {"model", "neither"}:
            break
    return said


def block_of(counts: list[int]) -> PairBlock:
    """A block of pairs of which (both, only the previous, only the current, none) were bad."""
    both, before, now, none = counts
    pairs = sum(counts)
    differences = _values({-1: before, 0: both + none, 1: now})
    return PairBlock(
        pairs=pairs,
        sessions=pairs,
        differences={BAD: differences, "empty": differences},
        previous=_values({0: now + none, 1: both + before}),
        current=_values({0: before + none, 1: both + now}),
        outputs={BAD: (both + before, both + now)},
    )


def _values(counts: dict[int, int]) -> Values:
    return tuple((value, 1, count) for value, count in counts.items() if count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
