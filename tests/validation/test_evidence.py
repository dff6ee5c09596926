"""A report is the same bytes everywhere, and comes back from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from registry.errors import UserError
from validation.evidence import rounded
from validation.gate import GateReport, judge
from validation.provenance import answers_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from validation.answers import Answer
    from validation.dataset import Dataset
    from validation.policy import GatePolicy

# Judges in a fresh interpreter, whose strings hash differently, and prints the report's hash.
JUDGE = """
import hashlib, json, sys
from pathlib import Path
from validation.answers import Answer
from validation.dataset import Dataset
from validation.gate import judge
from validation.policy import GatePolicy
request = json.load(sys.stdin)
dataset = Dataset.load(Path(request["folder"]))
policy = GatePolicy.model_validate(request["policy"] | {"sha256": dataset.sha256})
answers = [Answer(**answer) for answer in request["answers"]]
digests = {"variant": "ab", "artifact": "cd"}
report = judge(policy, dataset, answers, parent=answers, digests=digests)
print(hashlib.sha256(report.to_json()).hexdigest())
"""


@pytest.fixture
def inputs(
    make_dataset: Callable[..., Dataset],
    make_policy: Callable[..., GatePolicy],
    answer_all: Callable[..., tuple[Answer, ...]],
) -> tuple[GatePolicy, Dataset, tuple[Answer, ...]]:
    dataset = make_dataset()
    errors = list(map(int, np.random.default_rng(2).binomial(6, 0.03, 448)))
    return make_policy(margins={"parent": 0.01}), dataset, answer_all(dataset, errors)


@pytest.fixture
def report(inputs: Any) -> GateReport:
    policy, dataset, answers = inputs
    return judge(policy, dataset, answers, parent=answers, digests={"variant": "12" * 32})


def test_the_same_inputs_are_the_same_bytes(inputs: Any, report: GateReport) -> None:
    policy, dataset, answers = inputs
    again = judge(policy, dataset, answers, parent=answers, digests={"variant": "12" * 32})
    assert again.to_json() == report.to_json()


def test_another_interpreter_writes_the_same_bytes(disk: Any, pytestconfig: Any) -> None:
    disk.seal()
    answers = [{"id": row["id"], "text": "bin bleu at f", "latency_ms": 1.0} for row in disk.rows]
    policy: dict[str, Any] = {
        "dataset": "set",
        "limits": {"wer": 0.5, "cer": 0.5},
        "margins": {"parent": 0.1},
    }
    policy |= {"min_utterances": 2, "min_clusters": 2, "slices": ["noise"]}
    request = {"folder": str(disk.folder), "policy": policy, "answers": answers}
    found = {_judge_apart(request, seed, pytestconfig.rootpath) for seed in ("1", "2")}
    assert len(found) == 1


def _judge_apart(request: dict[str, Any], seed: str, checkout: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", JUDGE],
        input=json.dumps(request),
        cwd=checkout,
        env=os.environ | {"PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout.strip()


def test_latency_and_probabilities_are_not_evidence(inputs: Any, report: GateReport) -> None:
    _, _, answers = inputs
    assert report.provenance["answers"]["candidate"] == answers_digest(answers[::-1])
    assert b"latency" not in report.to_json()


def test_report_round_trips(report: GateReport) -> None:
    assert GateReport.from_json(report.to_json()) == report
    assert GateReport.from_dict(report.to_dict()).to_json() == report.to_json()


def test_provenance_says_how_to_compute_it_again(report: GateReport) -> None:
    origin = report.provenance
    assert origin["dataset_sha256"] == origin["policy"]["sha256"] == "ab" * 32
    assert (origin["normaliser"], origin["seed"], origin["confidence"]) == ("basic", 1, 0.95)
    assert set(origin["versions"]) == {"numpy", "rapidfuzz", "sacrebleu", "scipy"} | {
        "python",
        "unicode",
    }
    assert origin["digests"] == {"variant": "12" * 32}
    assert origin["contract"] == "not checked"
    assert "bootstrap" in origin["method"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"verdict": "good"},
        {"verdict": None},
        {"checks": [{"x": 1}]},
        {"checks": None},
        {"worst_utterances": [{"id": "a"}]},
    ],
)
def test_a_document_of_another_shape_is_refused(report: GateReport, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not a gate report"):
        GateReport.from_dict(report.to_dict() | change)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 2}'])
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="not a gate report"):
        GateReport.from_json(content)


def test_numbers_keep_nine_digits() -> None:
    assert rounded(1 / 3) == 0.333333333
    assert rounded(123456.7890123) == 123456.789
