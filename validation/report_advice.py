"""What a person should do about a verdict, in a sentence or two each.

The advice follows from the checks alone and names the commands that carry it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from validation.performance import Budgets
from validation.report_numbers import percent
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from validation.evidence import Check, GateReport

_CHANCE = 0.8
FAILED = "failed"
"""The check that counts what the engine refused."""

HEADLINES = {
    Verdict.PASS: ("Pass", "every check was shown to hold"),
    Verdict.FAIL: ("Fail", "shown to be worse than allowed"),
    Verdict.INCONCLUSIVE: ("Inconclusive", "neither shown to be good enough nor to be worse"),
    Verdict.ERROR: ("Error", "something could not be measured"),
}
"""The verdict's word and its meaning."""


def next_steps(report: GateReport, *, model: str, variant: str) -> tuple[str, ...]:
    """What to do now, the most important first; code between backticks."""
    match report.verdict:
        case Verdict.PASS:
            return (f"It may be released: `sluice promote {model} -v {variant}`.",)
        case Verdict.FAIL:
            return ("Do not release this variant.", *_after_fail(report, model, variant))
        case Verdict.INCONCLUSIVE:
            return tuple(_after_inconclusive(report))
        case _:
            again = f"`sluice gate {model} -v {variant}`"
            return (f"What was not measured may be bad: mend it, then run {again} again.",)


def reasons(checks: Iterable[Check]) -> tuple[tuple[str, str], ...]:
    """What did not pass, the worst first: verdict's label and why, once for a reason many share."""
    named: dict[tuple[Verdict, str], list[str]] = {}
    for check in sorted(checks, key=lambda check: -check.verdict):
        if check.verdict is not Verdict.PASS:
            place = f"{check.name} [{check.slice}]"
            why = check.reason.removeprefix(f"{place}: ")
            named.setdefault((check.verdict, why), []).append(place)
    return tuple(
        (
            verdict.label,
            f"{places[0]}: {why}" if len(places) == 1 else f"{why}: {', '.join(places)}",
        )
        for (verdict, why), places in named.items()
    )


def _after_fail(report: GateReport, model: str, variant: str) -> Iterator[str]:
    failed = [check for check in report.checks if check.verdict is Verdict.FAIL]
    baselines = {check.baseline for check in failed}
    if "parent" in baselines:
        yield (
            "The conversion cost more quality than its margin: "
            f"`sluice convert {model} --search` tries more careful recipes."
        )
    if "production" in baselines:
        yield "The release that serves now answers the same utterances better."
    names = {check.name for check in failed if not check.baseline}
    if names & {FAILED}:
        yield "The engine refused or failed on utterances: its log and the ids say why."
    if names - Budgets.model_fields.keys() - {FAILED}:
        yield (
            "It is beyond an absolute limit: see which slices and which utterances, and train "
            "or choose another model."
        )
    if names & Budgets.model_fields.keys():
        yield (
            "It costs more than its budget: take a smaller format, or other settings "
            f"(`sluice tune {model} -v {variant}`)."
        )


def _after_inconclusive(report: GateReport) -> Iterator[str]:
    yield "Do not release on this. The same set gives the same answer again."
    powers = [
        check.power
        for check in report.checks
        if check.verdict is Verdict.INCONCLUSIVE and check.power is not None
    ]
    clusters = [power.clusters_needed for power in powers if power.clusters_needed is not None]
    utterances = [
        power.utterances_needed for power in powers if power.utterances_needed is not None
    ]
    if clusters and utterances:
        yield (
            f"About {max(utterances):,} utterances of {max(clusters):,} different "
            f"{_cluster(report)}s in a slice would let a good one pass with a chance of "
            f"{power_chance(report)}."
        )
    if any(power.clusters_needed is None for power in powers):
        yield (
            "Where no amount of data like this would decide, the candidate is too near its limit: "
            "choose a better candidate, or decide for another limit before measuring again."
        )


def power_chance(report: GateReport) -> str:
    """The chance that the policy plans amounts of data for."""
    return percent(float(report.provenance.get("policy", {}).get("power", _CHANCE)))


def _cluster(report: GateReport) -> str:
    return str(report.provenance.get("policy", {}).get("cluster", "cluster"))
