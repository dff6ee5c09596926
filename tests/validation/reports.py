"""A report that shows everything a page or a CI file must write, and reports by verdict."""

from __future__ import annotations

import dataclasses

from validation.evidence import Check, GateReport, WorstUtterance
from validation.performance import Performance
from validation.power import Power
from validation.verdict import Verdict

PERFORMANCE = Performance(
    latencies_ms=tuple(20.0 + number % 40 for number in range(200)),
    audio_s=(1.5,) * 200,
    throughput_rps=(140.0, 150.0, 145.0, 149.0, 141.0, 152.0, 146.0),
    load_s=1.83,
    peak_memory_bytes=412_000_000,
    size_bytes=41_300_000,
    hardware={"cpu": "a <fast> one", "cores": 2},
    serve={"max_batch_size": 16},
)
CHECKS = (
    Check("contract", "all", Verdict.PASS, "contract [all]: 12 expectations hold"),
    Check("failed", "all", Verdict.PASS, "failed [all]: 0 of 448", 0.0, limit=0.0, unit="share"),
    Check(
        *("wer", "all", Verdict.PASS, "fine", 0.025, 0.0181, 0.0342, 0.05, 0.0004),
        metric="wer",
        unit="share",
    ),
    Check(
        *("wer_over_parent", "noise=noisy", Verdict.INCONCLUSIVE, "a|b <i>"),
        *(0.002, -0.003, 0.012, 0.01, 0.2),
        metric="wer",
        baseline="parent",
        unit="share",
        adjusted_p=0.7,
        power=Power(0.015, 0.42, 84, 1200),
    ),
    Check(
        *("chrf_over_production", "all", Verdict.FAIL, "worse by chrF"),
        *(-2.5, -3.5, -1.5, -1.0, 0.99),
        metric="chrf",
        baseline="production",
        better="higher",
        unit="points",
        adjusted_p=0.0004,
        power=Power(1.25, 0.999, None, None),
    ),
    Check(
        *("wer_over_parent", "noise=rare", Verdict.INCONCLUSIVE, "needs 40 more utterances"),
        limit=0.01,
        metric="wer",
        baseline="parent",
        unit="share",
    ),
    Check("cer", "all", Verdict.ERROR, "not measured"),
    Check(
        *("p99_ms", "all", Verdict.INCONCLUSIVE, "too few", 58.0, 55.0, None, 60.0),
        metric="p99_ms",
        unit="ms",
    ),
)
REPORT = GateReport(
    Verdict.FAIL,
    CHECKS,
    {"wer": 0.025},
    (
        WorstUtterance("u1", "bin blue", "", 0, 2, 0, 2, "out of memory"),
        WorstUtterance("u2", "lay red at b", "lay red hat at d", 1, 0, 1, 4),
        WorstUtterance("ar", "ضع الكتاب هنا", "ضع كتاب هنا الآن", 1, 0, 1, 3),
    ),
    {
        "dataset_sha256": "ab" * 32,
        "normaliser": "basic",
        "seed": 1,
        "confidence": 0.95,
        "digests": {"variant": "cd" * 32},
        "answers": {"candidate": "12" * 32, "parent": None},
        "policy": {"cluster": "speaker"},
        "versions": {"numpy": "2.4.6"},
    },
    {"chrf": "nrefs:1|version:2.6.0"},
    (
        {
            "expectation": "column_values_to_be_unique",
            "column": "id",
            "passed": False,
            "failures": 2,
            "failing": ["u<1>", "u2"],
            "detail": "",
            "meaning": "every id is its own",
        },
    ),
    PERFORMANCE.to_dict(),
)


def with_verdict(verdict: Verdict) -> GateReport:
    """The report as far as it has checks that are not worse than `verdict`."""
    checks = tuple(check for check in CHECKS if check.verdict <= verdict)
    return dataclasses.replace(REPORT, verdict=verdict, checks=checks)
