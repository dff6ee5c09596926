"""The metrics that follow from models' journals: one function a family of them.

Labels are models, and numbers of releases that serve or are tried, never requests, sessions or
texts.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from canary.delivery import delivery
from canary.fold import advance_by_ends
from canary.phases import Phase
from canary.states import ModelServing
from drift import case as drift_fold
from drift.case import DriftState
from registry.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.core import Metric as Family

    from canary.metrics import Comparison
    from canary.plan import Metric
    from canary.states import Rollout
    from registry.journal import Entry

_MODEL = ("model",)
_MAIN_METRICS = (
    "wer",
    "cer",
    "bleu",
    "chrf",
    "ter",
    "wrong",
    "noise_left",
    "empty",
    "looping",
    "failed",
)
"""Of a gate, and only over the whole set: slices are the report's."""


@dataclass
class ModelRead:
    """One model's journal as far as it was read."""

    serving: ModelServing
    drift: DriftState
    catalog: Catalog = field(default_factory=Catalog)
    registered_at: dict[str, float] = field(default_factory=dict)
    sequence: int = 0
    last_at: float = 0.0
    decisions: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    conversions: Counter[str] = field(default_factory=Counter)
    conversion_s: float = 0.0
    alarms: Counter[str] = field(default_factory=Counter)
    notifications: Counter[str] = field(default_factory=Counter)
    drift_pairs: int = 0
    drift_log_e: float = 0.0

    @classmethod
    def begun(cls, model: str) -> ModelRead:
        """Nothing read yet."""
        return cls(ModelServing(model), DriftState(model))

    def take(self, entries: Sequence[Entry]) -> None:
        """Some more. Of rollouts that ended among them only the ends are folded."""
        self.serving = advance_by_ends(self.serving, entries)
        for entry in entries:
            self._count(entry)

    def _count(self, entry: Entry) -> None:
        body = entry.body
        self.drift = drift_fold.advance(self.drift, entry)
        self.catalog.take(entry)
        self.sequence, self.last_at = entry.sequence, entry.at
        match entry.kind:
            case "artifact-registered":
                self.registered_at.setdefault(body["digest"], entry.at)
            case "decided":
                self.decisions[body["decision"]] += 1
            case "gate-decided":
                self.gates[body["verdict"]] += 1
            case "variant-converted":
                self.conversions[body["variant"]] += 1
                self.conversion_s += body.get("seconds", 0.0)
            case "alarm-raised":
                self.alarms[body["severity"]] += 1
            case "notifications-sent":
                self.notifications["sent"] += len(body["sent"])
                self.notifications["failed"] += len(body["failed"])
            case "attribution-begun":
                self.drift_pairs, self.drift_log_e = 0, 0.0
            case "drift-pairs":
                self.drift_pairs, self.drift_log_e = body["pairs"], body["log_e"]


def of_releases(read: dict[str, ModelRead]) -> Iterator[Family]:
    """Artifacts, variants, gates and releases."""
    yield _each(
        read, "sluice_releases", "Releases published.", lambda one: len(one.catalog.releases)
    )
    yield _each(
        read, "sluice_artifacts", "Artifacts registered.", lambda one: len(one.catalog.artifacts)
    )
    yield _each(
        read,
        "sluice_release_live",
        "The release that serves; 0: none.",
        lambda o: o.serving.live or 0,
    )
    yield _counts(
        read, "sluice_gates", "Verdicts.", ("model", "verdict"), lambda one: dict(one.gates)
    )
    yield _counts(
        read,
        "sluice_conversions",
        "Variants made.",
        ("model", "variant"),
        lambda one: dict(one.conversions),
    )
    seconds = CounterMetricFamily(
        "sluice_conversion_seconds", "Seconds that conversions took.", labels=_MODEL
    )
    metric = GaugeMetricFamily(
        "sluice_gate_metric", "The last gate's metrics.", labels=("model", "metric")
    )
    size = GaugeMetricFamily(
        "sluice_release_live_bytes", "Size of the release that serves.", labels=_MODEL
    )
    for model, one in read.items():
        seconds.add_metric((model,), one.conversion_s)
        if one.catalog.gates:
            for name in _MAIN_METRICS:
                if name in (found := one.catalog.gates[-1].metrics):
                    metric.add_metric((model, name), found[name])
        live = one.catalog.releases.get(one.serving.live or 0)
        if live is not None and "bytes" in live.body:
            size.add_metric((model,), live.body["bytes"])
    yield from (seconds, metric, size)


def of_rollouts(read: dict[str, ModelRead]) -> Iterator[Family]:
    """Routes, rollouts and their evidence."""
    phase = GaugeMetricFamily(
        "sluice_rollout_phase",
        "1 for the phase of the rollout under way.",
        labels=("model", "phase"),
    )
    weight = GaugeMetricFamily(
        "sluice_route_weight_percent", "Traffic by release.", labels=("model", "release")
    )
    copies = GaugeMetricFamily(
        "sluice_route_copies_percent", "Requests copied to a release.", labels=("model", "release")
    )
    evidence = GaugeMetricFamily(
        "sluice_rollout_harm_log_e",
        "Natural logarithm of the e-value of harm; it acts at the limit.",
        labels=("model", "metric"),
    )
    limit = GaugeMetricFamily(
        "sluice_rollout_acts_at_log_e", "Where it acts.", labels=("model", "metric")
    )
    for model, one in read.items():
        for share in one.serving.route or ():
            weight.add_metric((model, str(share.release)), share.weight)
        if mirror := one.serving.mirror:
            copies.add_metric((model, str(mirror.release)), mirror.percent)
        if rollout := one.serving.rollout:
            for name in Phase:
                phase.add_metric((model, name.value), float(name is rollout.phase))
            for metric, (log_e, acts_at) in _harm(rollout).items():
                evidence.add_metric((model, metric), log_e)
                limit.add_metric((model, metric), acts_at)
    yield from (phase, weight, copies, evidence, limit)
    yield _counts(
        read,
        "sluice_decisions",
        "Decisions made.",
        ("model", "decision"),
        lambda o: dict(o.decisions),
    )
    yield _counts(
        read,
        "sluice_rollouts",
        "Rollouts that ended.",
        ("model", "outcome"),
        lambda one: Counter(ended.outcome.value for ended in one.serving.history),
    )


def _harm(rollout: Rollout) -> dict[str, tuple[float, float]]:
    """By metric: the evidence of harm, and where it acts, as natural logarithms."""
    seen, plan = rollout.evidence, rollout.plan
    compared: dict[Metric, Comparison] = {
        "errors": seen.errors,
        "slow": seen.slow,
        "empty": seen.empty,
        "fallbacks": seen.fallbacks,
    }
    return {
        name: (comparison.harm.log_e, -math.log(alpha))
        for name, comparison in compared.items()
        if (alpha := plan.alpha_of(name))
    }


def of_drift(read: dict[str, ModelRead]) -> Iterator[Family]:
    """Windows, cases and comparisons."""
    case = GaugeMetricFamily(
        "sluice_drift_case_open", "1 while a case is open.", labels=("model", "severity")
    )
    quality = GaugeMetricFamily(
        "sluice_drift_estimated_wer", "Estimated without labels, last window.", labels=_MODEL
    )
    for model, one in read.items():
        if one.drift.case is not None:
            case.add_metric((model, str(one.drift.case.severity)), 1.0)
        if one.drift.estimates:
            quality.add_metric((model,), one.drift.estimates[-1].wer)
    yield from (case, quality)
    yield _counts(
        read,
        "sluice_drift_alarms",
        "Windows that raised one.",
        ("model", "severity"),
        lambda one: dict(one.alarms),
    )
    yield _total(read, "sluice_drift_windows", "Judged.", lambda one: len(one.drift.windows))
    yield _total(
        read,
        "sluice_drift_cases",
        "Opened.",
        lambda one: len(one.drift.ended) + (one.drift.case is not None),
    )
    yield _total(
        read, "sluice_drift_rollbacks", "Made by themselves.", lambda one: len(one.drift.rollbacks)
    )
    yield _each(
        read, "sluice_drift_pairs", "Counted in the last comparison.", lambda one: one.drift_pairs
    )
    yield _each(
        read,
        "sluice_drift_worse_log_e",
        "Natural logarithm of the e-value of a worse release, last comparison.",
        lambda one: one.drift_log_e,
    )


def of_delivery(read: dict[str, ModelRead], now: float) -> Iterator[Family]:
    """DORA's four measures over 30 days; `canary.delivery` says how they are counted."""
    values: dict[str, dict[str, float | None]] = {name: {} for name in _DELIVERY}
    for model, one in read.items():
        by_release = {
            number: one.registered_at[record.artifact]
            for number, record in one.catalog.releases.items()
            if record.artifact in one.registered_at
        }
        found = delivery(one.serving.history, by_release, now=now)
        values["sluice_dora_deployments_per_day"][model] = found.per_day
        values["sluice_dora_lead_time_seconds"][model] = found.lead_s
        values["sluice_dora_change_failure_ratio"][model] = found.failure_share
        values["sluice_dora_time_to_restore_seconds"][model] = found.restore_s
    for name, told in values.items():
        known = {model: value for model, value in told.items() if value is not None}
        yield gauge(name, _DELIVERY[name], _MODEL, known)


_DELIVERY = {
    "sluice_dora_deployments_per_day": "Deployments a day, of the last 30 days.",
    "sluice_dora_lead_time_seconds": "Median seconds from registration to all of the traffic.",
    "sluice_dora_change_failure_ratio": "Part of the deployments that were turned back.",
    "sluice_dora_time_to_restore_seconds": "Median seconds from evidence to the way back.",
}


def of_journal(read: dict[str, ModelRead], now: float) -> Iterator[Family]:
    """How much was written, and how long ago."""
    yield _counts(
        read,
        "sluice_notifications",
        "Messages to the webhook.",
        ("model", "outcome"),
        lambda one: dict(one.notifications),
    )
    yield _total(read, "sluice_journal_entries", "Entries.", lambda one: one.sequence)
    yield _each(
        read,
        "sluice_journal_age_seconds",
        "Seconds since the last entry.",
        lambda one: max(0.0, now - one.last_at),
    )


def _each(
    read: dict[str, ModelRead], name: str, told: str, value: Callable[[ModelRead], float]
) -> GaugeMetricFamily:
    return gauge(name, told, _MODEL, {model: value(one) for model, one in read.items()})


def _total(
    read: dict[str, ModelRead], name: str, told: str, value: Callable[[ModelRead], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=_MODEL)
    for model, one in read.items():
        family.add_metric((model,), value(one))
    return family


def _counts(
    read: dict[str, ModelRead],
    name: str,
    told: str,
    labels: tuple[str, str],
    counts: Callable[[ModelRead], dict[str, Any]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=labels)
    for model, one in read.items():
        for label, count in sorted(counts(one).items()):
            family.add_metric((model, label), count)
    return family


def gauge(
    name: str, told: str, labels: tuple[str, ...], values: dict[str, float]
) -> GaugeMetricFamily:
    """A gauge with one label."""
    family = GaugeMetricFamily(name, told, labels=labels)
    for label, value in values.items():
        family.add_metric((label,), value)
    return family
