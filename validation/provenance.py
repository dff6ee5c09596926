"""Where a report's numbers come from: enough to compute them again and compare."""

from __future__ import annotations

import hashlib
import platform
import unicodedata
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from registry.errors import UserError
from registry.files import canonical_json
from validation.normalisers import normaliser_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from validation.answers import Answer
    from validation.contracts import ContractReport
    from validation.dataset import Dataset
    from validation.policy import GatePolicy

_WIDEST = "Student's t over clusters and, above, the exact binomial bound; paired for differences"
METHODS = {
    "bootstrap": f"two-sided interval: the widest of a studentised cluster bootstrap, {_WIDEST}",
    "randomisation": f"two-sided interval: the widest of randomisation by cluster, {_WIDEST}",
}
_PACKAGES = ("numpy", "rapidfuzz", "sacrebleu", "scipy")


def require_pinned(policy: GatePolicy, dataset: Dataset) -> None:
    """Raise UserError when the policy pins another set."""
    if policy.sha256 != dataset.sha256:
        raise UserError(
            f"the answers are to set {dataset.sha256[:12]}, but the policy pins "
            f"{policy.sha256[:12]}",
            where=dataset.name,
            remedy="load the set with the policy's hash",
        )


def provenance_of(
    policy: GatePolicy,
    dataset: Dataset,
    answers: Mapping[str, Sequence[Answer] | None],
    contract: ContractReport | None,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """What decided the report, as JSON values.

    A baseline that had no answers is None under "answers".
    """
    return {
        "dataset_sha256": dataset.sha256,
        "policy": policy.model_dump(mode="json"),
        "normaliser": normaliser_id(policy.normaliser),
        "seed": policy.seed,
        "confidence": policy.confidence,
        "method": METHODS[policy.method],
        "correction": policy.correction,
        "versions": _versions(),
        "contract": "not checked" if contract is None else contract.engine,
        "digests": dict(digests),
        "answers": {
            role: None if given is None else answers_digest(given)
            for role, given in answers.items()
        },
    }


def answers_digest(answers: Sequence[Answer]) -> str:
    """SHA-256 of what is judged: canonical JSON of the sorted [id, text, error, samples]."""
    judged = sorted([one.id, one.text, one.error, one.samples] for one in answers)
    return hashlib.sha256(canonical_json(judged)).hexdigest()


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in _PACKAGES}
    unicode_version = unicodedata.unidata_version
    return packages | {"python": platform.python_version(), "unicode": unicode_version}
