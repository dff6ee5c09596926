"""DORA's four measures over the last 30 days, from the journal, and what was made and judged."""

from __future__ import annotations

from infra.grafana.source.panels import MODEL, Page, Shown

_BY_MODEL = f"{{{MODEL}}}"
_NAME = "{{model}}"

DELIVERY = Page(
    uid="sluice-delivery",
    title="Sluice: delivery",
    told="DORA's four measures (dora.dev) of the last 30 days, from the journal. Experiments are "
    "no deployments.",
    has_decisions=True,
    since="now-30d",
    rows=(
        (
            "DORA",
            (
                Shown(
                    "Deployment frequency",
                    "Deployments a day.",
                    ((f"sluice_dora_deployments_per_day{_BY_MODEL}", _NAME),),
                    kind="number",
                    width=6,
                ),
                Shown(
                    "Lead time",
                    "Median, from registration to all of the traffic.",
                    ((f"sluice_dora_lead_time_seconds{_BY_MODEL}", _NAME),),
                    unit="s",
                    kind="number",
                    width=6,
                ),
                Shown(
                    "Change failure rate",
                    "Part of the deployments that were turned back.",
                    ((f"sluice_dora_change_failure_ratio{_BY_MODEL}", _NAME),),
                    unit="percentunit",
                    kind="number",
                    width=6,
                    limits=((0.15, "orange"), (0.3, "red")),
                ),
                Shown(
                    "Time to restore",
                    "Median, from the first evidence to the way back.",
                    ((f"sluice_dora_time_to_restore_seconds{_BY_MODEL}", _NAME),),
                    unit="s",
                    kind="number",
                    width=6,
                ),
                Shown(
                    "Deployments a day",
                    "Over the 30 days before each moment.",
                    ((f"sluice_dora_deployments_per_day{_BY_MODEL}", _NAME),),
                ),
                Shown(
                    "Change failure rate",
                    "Over the 30 days before each moment.",
                    ((f"sluice_dora_change_failure_ratio{_BY_MODEL}", _NAME),),
                    unit="percentunit",
                    most=1,
                ),
            ),
        ),
        (
            "Rollouts and gates",
            (
                Shown(
                    "Rollouts that ended",
                    "In the time that is shown.",
                    (
                        (
                            (
                                f"sum by (outcome) (increase(sluice_rollouts_total{_BY_MODEL}"
                                "[$__range]))"
                            ),
                            "{{outcome}}",
                        ),
                    ),
                    kind="number",
                    width=12,
                ),
                Shown(
                    "Verdicts of gates",
                    "In the time that is shown.",
                    (
                        (
                            f"sum by (verdict) (increase(sluice_gates_total{_BY_MODEL}[$__range]))",
                            "{{verdict}}",
                        ),
                    ),
                    kind="number",
                    width=12,
                ),
                Shown(
                    "Word error rate of the last gate",
                    "Over the whole set.",
                    ((f'sluice_gate_metric{{{MODEL}, metric="wer"}}', _NAME),),
                    unit="percentunit",
                ),
                Shown(
                    "Conversions",
                    "Variants made in a day.",
                    (
                        (
                            f"sum by (variant) (increase(sluice_conversions_total{_BY_MODEL}[1d]))",
                            "{{variant}}",
                        ),
                    ),
                ),
            ),
        ),
        (
            "The journal",
            (
                Shown(
                    "Seconds since the last entry",
                    "While a rollout gives traffic this stays under two minutes.",
                    ((f"sluice_journal_age_seconds{_BY_MODEL}", _NAME),),
                    unit="s",
                ),
                Shown(
                    "Messages that could not be sent",
                    "To the webhook, in a day.",
                    (
                        (
                            (
                                f'increase(sluice_notifications_total{{{MODEL}, outcome="failed"}}'
                                "[1d])"
                            ),
                            _NAME,
                        ),
                    ),
                ),
            ),
        ),
    ),
)
