"""What journal and log hold of a drift case, read for its page: evidence, worst pairs, windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drift.comparison import BEGUN, COUNTED
from drift.evidence_view import Evidence
from drift.records import read_records
from drift.windows import Window
from drift.worst_pairs import worst_pairs
from pipelines.model_config import load_model_config
from pipelines.prediction_log_places import log_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drift.case import Case, DriftState
    from drift.worst_pairs import WorstPair
    from pipelines.assembly import Platform
    from registry.journal import Entry

PAIRS_S = 6 * 3600.0
"""How much of a case's end the worst pairs are looked for in: a page is not worth a day's log."""


def last_window(entries: Sequence[Entry]) -> tuple[Window, str] | None:
    """The window that ends last of those that were kept, in whatever order, and its verdict."""
    kept = (
        (Window(float(entry.body["since"]), float(entry.body["until"])), entry.body["outcome"])
        for entry in entries
        if entry.kind == "window-judged"
    )
    return max(kept, key=lambda one: one[0].until, default=None)


def window_of(
    platform: Platform,
    model: str,
    entries: Sequence[Entry],
    *,
    now: float,
    since_s: float | None = None,
) -> tuple[Window, str]:
    """The last checked window with its verdict, or the last `since_s` seconds before `now`.

    Where nothing was checked yet it is as long as a window of the policy.
    """
    if since_s is None and (checked := last_window(entries)):
        return checked
    length = since_s or load_model_config(platform.workspace, model).drift.window_s
    return Window(now - length, now), ""


def case_of(state: DriftState, window: Window) -> Case | None:
    """The newest case that the window has a moment in common with; an open one has no end."""
    cases = (*state.ended, *((state.case,) if state.case else ()))
    touching = [
        case
        for case in cases
        if case.since < window.until and (case.ended_at is None or case.ended_at > window.since)
    ]
    return touching[-1] if touching else None


def evidence_of(entries: Sequence[Entry], case: Case) -> Evidence:
    """The curve of the case's last comparison and the attribution's word, as journaled."""
    curve: list[tuple[float, int, float]] = []
    alpha, previous, said = case.alpha, None, ""
    for entry in entries:
        body = entry.body
        if body.get("case") != case.number:
            continue
        if entry.kind == BEGUN:
            curve, alpha, previous = [], float(body["plan"]["alpha"]), int(body["previous"])
        elif entry.kind == COUNTED:
            curve.append((entry.at, int(body["pairs"]), float(body["e_value"])))
        elif entry.kind == "attribution-decided":
            said = f"{body['outcome']}: {body['reason']}"
    return Evidence(tuple(curve), alpha, said, previous)


def pairs_of(
    platform: Platform, model: str, case: Case, previous: int | None, now: float
) -> tuple[tuple[WorstPair, ...], int]:
    """The worst pairs of the case's last hours, and how many pairs there are in them.

    `previous` is whom the case's release was compared with, None where the journal does not say.
    """
    until = (now if case.ended_at is None else case.ended_at) + 1
    since = max(case.since, until - PAIRS_S)
    root = log_places(platform.workspace)
    records = read_records(root, model, since=since, until=until, copies=True)
    return worst_pairs(records.table, case.release, previous)
