"""What all dashboards are made of: panels by what they show, variables, annotations, the frame.

A dashboard says what is asked and in which unit; how it looks is said here once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import common as builders
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
MODEL = 'model=~"$model"'
"""What every expression is narrowed by."""
_WIDTH, _HEIGHT, _LOW = 12, 8, 5
_DECISIONS = (
    "sum by (model, decision) "
    f'(increase(sluice_decisions_total{{{MODEL}, decision!="hold"}}[1m])) > 0'
)
_FIRING = 'ALERTS{alertname=~"Sluice.*", alertstate="firing"}'


@dataclass(frozen=True)
class Shown:
    """One panel. `asked` are expressions with the names of their series.

    `unit` is one of Grafana's; `limits` are (from, colour) steps upwards.
    """

    title: str
    told: str
    asked: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "lines"
    width: int = _WIDTH
    limits: Sequence[tuple[float, str]] = ()
    most: float | None = None
    from_zero: bool = True
    dashed: str = ""
    """Series whose name matches are drawn dashed: where something acts."""
    beside_lines: bool = False
    """A number that is as high as its neighbours."""

    @property
    def is_high(self) -> bool:
        """Whether it is as high as lines are."""
        return self.kind == "lines" or self.beside_lines


@dataclass(frozen=True)
class Page:
    """One dashboard: rows of panels under headings."""

    uid: str
    title: str
    told: str
    rows: Sequence[tuple[str, Sequence[Shown]]]
    has_decisions: bool = False
    since: str = "now-6h"
    variables: Sequence[str] = field(default=("model",))


def render(page: Page) -> str:
    """The dashboard as Grafana's JSON, the same to the byte each time."""
    builder = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.told)
        .tags(["sluice"])
        .refresh("30s")
        .time(page.since, "now")
        .timezone("browser")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Sluice")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["sluice"])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
        .with_variable(
            dashboard.TextBoxVariable("runbooks")
            .label("Runbooks at")
            .default_value("docs/runbooks")
        )
    )
    for name in page.variables:
        builder = builder.with_variable(_variable(name))
    numbers = count(1)
    for heading, panels in page.rows:
        builder = builder.with_row(dashboard.Row(heading).id(next(numbers)))
        for shown in panels:
            builder = builder.with_panel(_KINDS[shown.kind](shown).id(next(numbers)))
    document = json.loads(JSONEncoder(sort_keys=True).encode(builder.build()))
    document["annotations"] = {"list": [_alerts(), *([_decisions()] if page.has_decisions else [])]}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _variable(name: str) -> dashboard.QueryVariable:
    narrowed = "" if name == "model" else f"{{{MODEL}}}"
    metric = "sluice_release_live" if name == "model" else "sluice_route_weight_percent"
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({metric}{narrowed}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _alerts() -> dict[str, Any]:
    """Alerts, each with the page that says what to do."""
    return _annotation("Alerts", _FIRING, "red") | {
        "titleFormat": "{{alertname}} {{model}}",
        "textFormat": "[what to do](${runbooks}/{{alertname}}.md)",
    }


def _decisions() -> dict[str, Any]:
    """What rollouts decided, when they did."""
    return _annotation("Decisions", _DECISIONS, "blue") | {
        "titleFormat": "{{decision}}",
        "textFormat": "{{model}}: `sluice canary explain {{model}}` has the evidence",
    }


def _annotation(name: str, expression: str, colour: str) -> dict[str, Any]:
    return {
        "name": name,
        "enable": True,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "expr": expression,
        "step": "30s",
        "iconColor": colour,
    }


def _queries(shown: Shown, *, instant: bool) -> list[prometheus.Dataquery]:
    queries = []
    for number, (expression, legend) in enumerate(shown.asked):
        query = (
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + number))
            .datasource(SOURCE)
            .expr(expression)
            .legend_format(legend)
        )
        queries.append(query.instant() if instant else query.range())
    return queries


def _lines(shown: Shown) -> timeseries.Panel:
    panel = timeseries.Panel().line_width(2).fill_opacity(8).span_nulls(span_nulls=False)
    if shown.dashed:
        panel = panel.override_by_regexp(
            shown.dashed,
            [
                models.DynamicConfigValue(
                    id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}
                ),
                models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            ],
        )
    if shown.limits:
        style = builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    return _framed(panel, shown, instant=False)  # type: ignore[no-any-return] # of any panel


def _number(shown: Shown) -> stat.Panel:
    newest = builders.ReduceDataOptions().calcs(["lastNotNull"])
    panel = stat.Panel().text_mode(common.BigValueTextMode.VALUE_AND_NAME).reduce_options(newest)
    return _framed(panel, shown, instant=True)  # type: ignore[no-any-return] # of any panel


def _framed(panel: Any, shown: Shown, *, instant: bool) -> Any:
    panel = (
        panel.title(shown.title)
        .description(shown.told)
        .datasource(SOURCE)
        .unit(shown.unit)
        .span(shown.width)
        .height(_HEIGHT if shown.is_high else _LOW)
    )
    if shown.from_zero:
        panel = panel.min(0)
    if shown.most is not None:
        panel = panel.max(shown.most)
    if shown.limits:
        steps = [models.Threshold(value=None, color="green")]
        steps += [models.Threshold(value=value, color=colour) for value, colour in shown.limits]
        panel = panel.thresholds(
            dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
        )
    for query in _queries(shown, instant=instant):
        panel = panel.with_target(query)
    return panel


_KINDS: dict[str, Callable[[Shown], Any]] = {"lines": _lines, "number": _number}
