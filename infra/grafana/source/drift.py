"""Drift: cases and alarms, quality as estimated without labels, and the release's part in it."""

from __future__ import annotations

from infra.grafana.source.panels import MODEL, Page, Shown

_BY_MODEL = f"{{{MODEL}}}"
_EACH = "{{model}} r{{release}}"

DRIFT = Page(
    uid="sluice-drift",
    title="Sluice: drift",
    told="Whether traffic or answers are not as before, and whether a release or the world did it.",
    has_decisions=True,
    since="now-7d",
    rows=(
        (
            "Cases",
            (
                Shown(
                    "Open cases",
                    "`act` asks somebody to act.",
                    ((f"sluice_drift_case_open{_BY_MODEL}", "{{model}}: {{severity}}"),),
                    kind="number",
                    width=8,
                    limits=((1, "orange"),),
                    beside_lines=True,
                ),
                Shown(
                    "Alarms a day",
                    "Windows beyond the stated rate of false alarms.",
                    (
                        (
                            f"increase(sluice_drift_alarms_total{_BY_MODEL}[1d])",
                            "{{model}}: {{severity}}",
                        ),
                    ),
                    width=8,
                ),
                Shown(
                    "Windows judged an hour",
                    "0: the watch does not run.",
                    ((f"increase(sluice_drift_windows_total{_BY_MODEL}[1h])", "{{model}}"),),
                    width=8,
                ),
            ),
        ),
        (
            "Quality without labels",
            (
                Shown(
                    "Estimated word error rate",
                    "The last window's, beside the last gate's.",
                    (
                        (f"sluice_drift_estimated_wer{_BY_MODEL}", "{{model}} estimated"),
                        (f'sluice_gate_metric{{{MODEL}, metric="wer"}}', "{{model}} at the gate"),
                    ),
                    unit="percentunit",
                    dashed=".* at the gate",
                ),
                Shown(
                    "Estimated over the gate's",
                    "Above 2 for an hour somebody is told; it is never a reason to go back alone.",
                    ((f"model:sluice_quality_ratio{_BY_MODEL}", "{{model}}"),),
                    limits=((2, "orange"),),
                ),
                Shown(
                    "Empty answers",
                    "Part of the recorded answers.",
                    ((f"release:empty_answers:ratio15m{_BY_MODEL}", _EACH),),
                    unit="percentunit",
                ),
                Shown(
                    "Answers that repeat themselves",
                    "Part of the recorded answers.",
                    ((f"release:looping_answers:ratio15m{_BY_MODEL}", _EACH),),
                    unit="percentunit",
                ),
            ),
        ),
        (
            "The release or the world",
            (
                Shown(
                    "Evidence that the release is worse (natural logarithm of the e-value)",
                    "Of the last comparison: the release before answers the same inputs.",
                    ((f"sluice_drift_worse_log_e{_BY_MODEL}", "{{model}}"),),
                    from_zero=False,
                ),
                Shown(
                    "Pairs counted",
                    "In the last comparison.",
                    ((f"sluice_drift_pairs{_BY_MODEL}", "{{model}}"),),
                ),
                Shown(
                    "Rollbacks by themselves",
                    "In the time that is shown.",
                    (
                        (
                            f"increase(sluice_drift_rollbacks_total{_BY_MODEL}[$__range])",
                            "{{model}}",
                        ),
                    ),
                    kind="number",
                    width=24,
                ),
            ),
        ),
    ),
)
