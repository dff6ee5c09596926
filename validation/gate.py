"""The gate: a policy, a set, and what models answered to it become one verdict with evidence.

Pure: the same values in are the same report out, to the byte. It starts no model, reads no
audio and knows no clock; `pipelines/` brings the answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from registry.files import canonical_json
from validation.evidence import Check, GateReport, WorstUtterance
from validation.metrics import metrics_of, worst_utterances
from validation.performance import performance_checks
from validation.provenance import provenance_of, require_pinned
from validation.questions import Case, error_check, quality_checks
from validation.scoring import Mismatch, score_answers
from validation.slices import WHOLE, slices_of
from validation.verdict import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from validation.answers import Answer
    from validation.contracts import ContractReport
    from validation.dataset import Dataset
    from validation.performance import Performance
    from validation.policy import GatePolicy
    from validation.scoring import Scores

__all__ = ["Check", "GateReport", "judge"]

_NAMES_SHOWN = 3


def judge(  # noqa: PLR0913 - all that a verdict rests on
    policy: GatePolicy,
    dataset: Dataset,
    candidate: Sequence[Answer],
    *,
    parent: Sequence[Answer] | None = None,
    production: Sequence[Answer] | None = None,
    production_error: str = "",
    contract: ContractReport | None = None,
    performance: Performance | None = None,
    digests: Mapping[str, str] | None = None,
) -> GateReport:
    """Judge the candidate's answers.

    A margin over the parent needs the parent's answers; one over production is asked only when
    something is in production: its answers, or in `production_error` why there are none.
    `digests` are recorded as they are. Raises UserError when the policy names a column that an
    utterance lacks, or pins another set; everything else is a check in the report.
    """
    require_pinned(policy, dataset)
    given = {"candidate": candidate, "parent": parent, "production": production}
    checks = [*_contract_checks(contract), *_reference_checks(dataset)]
    scores = _scores(policy, dataset, candidate)
    metrics: dict[str, float] = {}
    poorest: tuple[WorstUtterance, ...] = ()
    if isinstance(scores, Mismatch):
        checks.append(error_check("answers", scores.reason))
    else:
        slices = slices_of(policy, dataset)
        ids = [utterance.id for utterance in dataset.utterances]
        baselines = _baselines(policy, dataset, given, production_error)
        checks += quality_checks(Case(policy, slices, scores, baselines, ids))
        metrics = metrics_of(scores, slices, checks)
        poorest = worst_utterances(dataset.utterances, scores)
    checks += performance_checks(policy.budgets, performance, policy.confidence)
    return GateReport(
        verdict=worst(check.verdict for check in checks),
        checks=tuple(checks),
        metrics=metrics,
        worst_utterances=poorest,
        provenance=provenance_of(policy, dataset, given, contract, digests or {}),
        signatures={} if isinstance(scores, Mismatch) else _signatures(scores),
        contract=() if contract is None else tuple(map(_plain, map(asdict, contract.outcomes))),
        performance=None if performance is None else _plain(performance.to_dict()),
    )


def _scores(policy: GatePolicy, dataset: Dataset, candidate: Sequence[Answer]) -> Scores | Mismatch:
    """The candidate's scores, or why there is nothing to judge."""
    if not dataset.utterances:
        return Mismatch("the set holds no utterance")
    scores = score_answers(dataset, candidate, policy.normaliser)
    if isinstance(scores, Mismatch) or not scores.failed.all():
        return scores
    return Mismatch(f"no utterance was answered: {candidate[0].error}")


def _baselines(
    policy: GatePolicy,
    dataset: Dataset,
    given: Mapping[str, Sequence[Answer] | None],
    production_error: str,
) -> dict[str, Scores | Mismatch]:
    found = {
        name: score_answers(dataset, answers, policy.normaliser)
        for name in ("parent", "production")
        if (answers := given[name]) is not None
    }
    return found | ({"production": Mismatch(production_error)} if production_error else {})


def _reference_checks(dataset: Dataset) -> Iterator[Check]:
    """An utterance without a reference would be scored as if nothing had been said."""
    if dataset.kind != "noisy-speech":
        missing = [one.id for one in dataset.utterances if not one.text.strip()]
        if missing:
            count = f"{len(missing)} of {len(dataset.utterances)} utterances have no reference"
            names = ", ".join(missing[:_NAMES_SHOWN])
            yield error_check("references", f"{count}, such as {names}")


def _contract_checks(contract: ContractReport | None) -> Iterator[Check]:
    if contract is not None:
        broken = "; ".join(row.sentence for row in contract.outcomes if not row.passed)
        held = f"contract [{WHOLE}]: {len(contract.outcomes)} expectations hold"
        if contract.passed:
            yield Check("contract", WHOLE, Verdict.PASS, held)
        else:
            yield error_check("contract", broken or "nothing was expected of the data")


def _signatures(scores: Scores) -> dict[str, str]:
    return {name: one.signature for name, one in scores.measures.items() if one.signature}


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from JSON."""
    plain: dict[str, Any] = json.loads(canonical_json(document))
    return plain
