"""The gate: a policy, a set, and what models answered to it become one verdict with evidence.

Pure: the same values in are the same report out, to the byte. It starts no model, reads no
audio and knows no clock; `pipelines/` brings the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from validation.evidence import Check, GateReport, WorstUtterance
from validation.metrics import metrics_of, worst_utterances
from validation.provenance import provenance_of
from validation.questions import Case, error_check, quality_checks
from validation.scoring import Mismatch, score_answers
from validation.slices import WHOLE, slices_of
from validation.verdict import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from validation.answers import Answer
    from validation.contracts import ContractReport
    from validation.dataset import Dataset
    from validation.policy import GatePolicy

__all__ = ["Check", "GateReport", "judge"]


def judge(
    policy: GatePolicy,
    dataset: Dataset,
    candidate: Sequence[Answer],
    *,
    parent: Sequence[Answer] | None = None,
    production: Sequence[Answer] | None = None,
    contract: ContractReport | None = None,
    digests: Mapping[str, str] | None = None,
) -> GateReport:
    """Judge the candidate's answers.

    A margin over the parent needs the parent's answers; one over production is asked only when
    something is in production. `digests` are recorded as they are. Raises UserError when the
    policy names a column that an utterance lacks, or pins another set; everything else is a
    check in the report.
    """
    slices = slices_of(policy, dataset)
    scores = score_answers(dataset, candidate, policy.normaliser)
    checks = list(_contract_checks(contract))
    metrics: dict[str, float] = {}
    poorest: tuple[WorstUtterance, ...] = ()
    if isinstance(scores, Mismatch):
        checks.append(error_check("answers", scores.reason))
    elif scores.failed.all():
        checks.append(error_check("answers", f"no utterance was answered: {candidate[0].error}"))
    else:
        baselines = {
            name: score_answers(dataset, answers, policy.normaliser)
            for name, answers in (("parent", parent), ("production", production))
            if answers is not None
        }
        checks += quality_checks(Case(policy, slices, scores, baselines))
        metrics = metrics_of(scores, slices, checks)
        poorest = worst_utterances(dataset.utterances, scores, candidate)
    given = {"candidate": candidate, "parent": parent, "production": production}
    return GateReport(
        verdict=worst(check.verdict for check in checks),
        checks=tuple(checks),
        metrics=metrics,
        worst_utterances=poorest,
        provenance=provenance_of(policy, dataset, given, contract, digests or {}),
    )


def _contract_checks(contract: ContractReport | None) -> Iterator[Check]:
    if contract is not None:
        broken = "; ".join(row.sentence for row in contract.outcomes if not row.passed)
        held = f"contract [{WHOLE}]: {len(contract.outcomes)} expectations hold"
        if contract.passed:
            yield Check("contract", WHOLE, Verdict.PASS, held)
        else:
            yield error_check("contract", broken or "nothing was expected of the data")
