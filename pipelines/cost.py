"""What releases cost, and would cost elsewhere: prices of the workspace over what gates measured.

It reads the reports that stand behind releases, starts nothing and changes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.evidence import REPORT
from registry.errors import UserError
from validation.cost import (
    PRICE,
    Price,
    break_even_rps,
    cost_json,
    cost_of,
    machines_for,
    per_thousand,
)
from validation.performance import Performance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.assembly import Platform
    from registry.catalog import ReleaseRecord
    from registry.workspace import Workspace
    from validation.cost import Cost
    from validation.evidence import GateReport

MONTH_H = 730.0
"""Hours of a mean month."""


def price_here(workspace: Workspace) -> Price | None:
    """The price of what gates measure on; None where the workspace names none."""
    if not workspace.has_section("prices"):
        return None
    section = workspace.settings.prices
    if not section.here:
        return None
    return Price(section.here, section.hourly[section.here], section.currency)


def priced(report: GateReport, workspace: Workspace) -> GateReport:
    """The report with the price that it is made under; as it is where there is none."""
    import dataclasses

    price = price_here(workspace)
    if price is None or report.performance is None:
        return report
    return dataclasses.replace(report, provenance={**report.provenance, PRICE: price.to_json()})


def measured(workspace: Workspace, report_digest: str) -> Performance | None:
    """What the gate of that report measured; None where the report is gone or measured nothing."""
    try:
        document = json.loads((workspace.reports / report_digest / REPORT).read_bytes())
    except (OSError, ValueError):
        return None
    found = document.get("performance")
    return None if found is None else Performance.from_dict(found)


def what_if(
    platform: Platform,
    model: str,
    *,
    prices: Mapping[str, float],
    releases: tuple[int, ...] = (),
    target_rps: float = 0.0,
) -> dict[str, Any]:
    """Costs of `releases` (the live one by default) under the workspace's prices and `prices`.

    For the device that gates measured on, from the measured throughput; for each other price, from
    how many answers a second on it would be cheaper. With `target_rps` also machines, and a month
    of them. Raises UserError without a price, or where no gate measured the release.
    """
    section = platform.workspace.settings.prices
    known = {**section.hourly, **prices}
    here = section.here or next(iter(prices), "")
    if not here:
        raise UserError(
            "no price is known",
            where=model,
            remedy="write [prices] hourly = { cpu = 0.12 } into sluice.toml, or --price cpu=0.12",
        )
    price = Price(here, known[here], section.currency)
    others = {name: hourly for name, hourly in known.items() if name != here}
    rows = []
    for record in _chosen(platform, model, releases):
        performance = measured(platform.workspace, record.body["report_digest"])
        cost = None if performance is None else cost_of(performance, price)
        if performance is None or cost is None:
            raise UserError(
                f"no throughput was measured of release {record.release}",
                where=model,
                remedy=f"run `sluice gate {model}` where it is to be measured",
            )
        rows.append(_row(record, cost, others, target_rps, performance.hardware))
    return {"model": model, "currency": price.currency, "target_rps": target_rps, "releases": rows}


def _chosen(platform: Platform, model: str, releases: tuple[int, ...]) -> tuple[ReleaseRecord, ...]:
    catalog = platform.catalog(model)
    live = platform.serving(model).live
    wanted = releases or (() if live is None else (live,))
    if not wanted:
        raise UserError(
            "no release is live", where=model, remedy="name a published one with --release"
        )
    return tuple(catalog.require_release(model, number) for number in wanted)


def _row(
    record: ReleaseRecord,
    cost: Cost,
    others: Mapping[str, float],
    target_rps: float,
    hardware: Mapping[str, Any],
) -> dict[str, Any]:
    thousand = per_thousand(cost)
    found = {
        "release": record.release,
        "variant": record.body["variant"],
        "hardware": {name: hardware[name] for name in ("processor", "cores") if name in hardware},
        **cost_json(cost),
        "per_1000_requests": thousand.value,
        "elsewhere": [
            {
                "name": name,
                "hourly": hourly,
                "cheaper_from_rps": break_even_rps(cost, hourly),
                "times": hourly / cost.price.hourly,
            }
            for name, hourly in sorted(others.items())
        ],
    }
    if target_rps:
        machines = machines_for(target_rps, cost.rps.value)
        # The interval's worse end: what to order when the median was lucky.
        most = machines_for(target_rps, cost.rps.low) if cost.rps.low > 0 else None
        found["machines"] = {"value": machines, "at_worst": most}
        found["month"] = machines * cost.price.hourly * MONTH_H
    return found
