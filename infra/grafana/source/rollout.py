"""One rollout: who gets the traffic, the evidence against where it acts, both arms side by side."""

from __future__ import annotations

from infra.grafana.source.panels import MODEL, Page, Shown

_ARM = f'{{{MODEL}, release=~"$release"}}'
_BY_MODEL = f"{{{MODEL}}}"
_EACH = "{{model}} r{{release}}"

ROLLOUT = Page(
    uid="sluice-rollout",
    title="Sluice: one rollout",
    told="Choose one model. Decisions and alerts are drawn as annotations.",
    has_decisions=True,
    since="now-1h",
    variables=("model", "release"),
    rows=(
        (
            "Traffic",
            (
                Shown(
                    "Phase",
                    "Of the rollout under way; nothing when there is none.",
                    ((f"sluice_rollout_phase{_BY_MODEL} == 1", "{{model}}: {{phase}}"),),
                    kind="number",
                    width=6,
                    beside_lines=True,
                ),
                Shown(
                    "Weights",
                    "The route as it was written.",
                    ((f"sluice_route_weight_percent{_ARM}", _EACH),),
                    unit="percent",
                    width=9,
                    most=100,
                ),
                Shown(
                    "Requests a second",
                    "What came: a split that is not the configured one is a finding.",
                    ((f"release:requests:rate5m{_ARM}", _EACH),),
                    unit="reqps",
                    width=9,
                ),
            ),
        ),
        (
            "Evidence",
            (
                Shown(
                    "Evidence of harm (natural logarithm of the e-value)",
                    "Where a line meets the dashed one of its name, the rollout goes back. It may "
                    "be looked at as often as you like.",
                    (
                        (f"sluice_rollout_harm_log_e{_BY_MODEL}", "{{model}}: {{metric}}"),
                        (
                            f"sluice_rollout_acts_at_log_e{_BY_MODEL}",
                            "{{model}}: {{metric}} acts here",
                        ),
                    ),
                    dashed=".* acts here",
                    from_zero=False,
                ),
                Shown(
                    "Share of the way to acting",
                    "1: the rollout goes back.",
                    ((f"model:sluice_harm_share{_BY_MODEL}", "{{model}}: {{metric}}"),),
                    unit="percentunit",
                    limits=((0.5, "orange"), (1, "red")),
                    from_zero=False,
                ),
                Shown(
                    "Decisions",
                    "In the time that is shown.",
                    (
                        (
                            (
                                f"sum by (decision) (increase(sluice_decisions_total{_BY_MODEL}"
                                "[$__range]))"
                            ),
                            "{{decision}}",
                        ),
                    ),
                    kind="number",
                    width=24,
                ),
            ),
        ),
        (
            "The arms",
            (
                Shown(
                    "Failed requests",
                    "Part of each release's requests.",
                    ((f"release:errors:ratio5m{_ARM}", _EACH),),
                    unit="percentunit",
                ),
                Shown(
                    "Time to the answer, 95th percentile",
                    "At the front door.",
                    ((f"release:request_seconds:p95{_ARM}", _EACH),),
                    unit="s",
                ),
                Shown(
                    "Empty answers",
                    "Part of the recorded answers, a quarter of an hour.",
                    ((f"release:empty_answers:ratio15m{_ARM}", _EACH),),
                    unit="percentunit",
                ),
                Shown(
                    "Answers by a fallback",
                    "Part of the recorded answers, a quarter of an hour.",
                    ((f"release:fallback_answers:ratio15m{_ARM}", _EACH),),
                    unit="percentunit",
                ),
            ),
        ),
    ),
)
