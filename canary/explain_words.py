"""The words and figures in which an explained rollout is told, in a terminal and on a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canary.explanation import Curve, Explanation, StepAccount

NO_HARM = "no_more_"
"""Tests with this prefix say that harm beyond the margin is ruled out; all others say harm."""

LETTERS = {
    "advance": "A",
    "promote": "P",
    "settle": "S",
    "pause": "W",
    "roll-back": "R",
    "reject": "X",
    "halt": "H",
    "end": "E",
}
"""How curves mark the decisions that change something."""

_TESTS = {
    "errors": "More errors than the baseline",
    "slow": "More slow answers than the baseline",
    "sick": "Errors beyond any comparison",
    "pairs": "Worse on the same inputs",
    "empty": "More empty answers than the baseline",
    "fallbacks": "More answers by the fallback",
    "split": "The split is not the configured one",
    "no_more_bad": "No more bad outputs on the same inputs, beyond the margin",
    "no_more_slow": "No more slow answers, beyond the margin",
}
_LARGE = math.log(1e6)


def says_harm(test: str) -> bool:
    """Whether a high e-value speaks against the candidate."""
    return test != "split" and not test.startswith(NO_HARM)


def title(test: str) -> str:
    """What the test says when it acts."""
    if test in _TESTS:
        return _TESTS[test]
    plain = test.removeprefix(NO_HARM).replace("_", " ")
    return (
        f"More {plain} than the baseline"
        if says_harm(test)
        else f"No more {plain}, beyond the margin"
    )


def e_value(log_e: float) -> str:
    """An e-value as a person reads it: three digits, a power of ten where it is huge or tiny."""
    if abs(log_e) > _LARGE:
        return f"10^{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def status(curve: Curve) -> tuple[str, str]:
    """A mood (`alarm`, `watch`, `quiet` or `not`) and a word or two."""
    if curve.name == "split":
        return ("watch", "not the split") if curve.reached else ("quiet", "as configured")
    if not says_harm(curve.name):
        return ("quiet", "ruled out") if curve.reached else ("not", "not ruled out")
    if curve.reached:
        return "alarm", "harm"
    if curve.highest >= curve.acts_at / 2:
        return "watch", "in doubt"
    return "quiet", "nothing seen"


def strongest(step: StepAccount) -> str:
    """The test that came nearest to turning the candidate back, at the end of the step."""
    against = [
        (log_e / acts_at, name, log_e, acts_at)
        for name, log_e, acts_at in step.evidence
        if says_harm(name)
    ]
    if not against or not (step.candidate_requests or step.pairs):
        return ""
    _, name, log_e, acts_at = max(against)
    return f"{name.replace('_', ' ')}: {e_value(log_e)} of {e_value(acts_at)}"


def share(step: StepAccount) -> str:
    """The candidate's part of the traffic."""
    return f"shadow {step.shadow:g} %" if step.shadow else f"{step.weight} %"


def took(seconds: float | None) -> str:
    """A length of time, rounded."""
    if seconds is None:
        return "goes on"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def answers(step: StepAccount) -> tuple[int, int]:
    """Counted answers of the candidate and of the baseline; of pairs there are as many of each."""
    return step.candidate_requests + step.pairs, step.baseline_requests + step.pairs


def length_of(step: StepAccount) -> str:
    """How long a step took."""
    return took(None if step.ended_at is None else step.ended_at - step.began_at)


def replayed(explanation: Explanation) -> str:
    """Whether the journal's observations give the journal's decisions, in one line."""
    count, wrong = len(explanation.decisions), len(explanation.disagreements)
    if not count:
        return "no decision was journaled"
    if wrong:
        return f"{wrong} of {count} decisions come out otherwise"
    return f"all {count} decisions come out the same from the journal's observations"


def because(step: StepAccount) -> str:
    """Why the step ended; empty while it goes on."""
    return f"{step.left_by}: {step.reason}" if step.left_by else ""
