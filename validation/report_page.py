"""A gate's report as one HTML page: the verdict and what to do, then all that it rests on.

The page opens from a disk, needs no network and no script, and can be printed. It shows what the
report holds and decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.markup import breakable, with_code
from validation.report_advice import HEADLINES, next_steps, power_chance, reasons
from validation.report_alignment import Pair, align, by_characters
from validation.report_costs import cost_rows
from validation.report_numbers import interval, of_check, percent, quantity
from validation.report_plot import sections_of
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from validation.evidence import Check, GateReport, WorstUtterance

AUDIO_BYTES = 16_000_000
"""The sound that one page holds at most; a page that a browser cannot open helps nobody."""


@dataclass(frozen=True, slots=True)
class UtteranceView:
    """A poor utterance: its alignment, and its sound as a data URI or empty."""

    row: WorstUtterance
    pairs: tuple[Pair, ...]
    close: bool
    """Characters are aligned: they stand close together."""
    audio: str


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A check with all its numbers as text."""

    check: Check
    value: str
    interval: str
    limit: str
    within: str
    beyond: str


@dataclass(frozen=True, slots=True)
class PowerRow:
    """What the set could have found by one check, as text."""

    check: Check
    finds: str
    passes: str
    enough: str


def render(
    report: GateReport, *, model: str, variant: str, audio: Mapping[str, bytes] | None = None
) -> str:
    """The report as one self-contained page.

    `audio` holds whole WAV files by utterance id. The worst utterances' are put into the page as
    far as 16 MB go. The same values are the same page, to the byte.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("validation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = with_code
    environment.filters["breakable"] = breakable
    word, line = HEADLINES[report.verdict]
    return environment.get_template("report.html.jinja").render(
        report=report,
        model=model,
        variant=variant,
        word=word,
        line=line,
        steps=next_steps(report, model=model, variant=variant),
        counts=_counts(report.checks),
        reasons=reasons(report.checks),
        sections=sections_of(report.checks),
        utterances=_utterances(report.worst_utterances, audio or {}),
        powers=tuple(_powers(report.checks)),
        power_chance=power_chance(report),
        costs=cost_rows(report),
        numbers=tuple(map(_numbers, report.checks)),
        origin=tuple(_origin(report.provenance)),
        digest=hashlib.sha256(report.to_json()).hexdigest(),
    )


def _counts(checks: Sequence[Check]) -> list[tuple[str, int]]:
    verdicts = [check.verdict for check in checks]
    return [(verdict.label, verdicts.count(verdict)) for verdict in reversed(Verdict)]


def _utterances(
    rows: Sequence[WorstUtterance], audio: Mapping[str, bytes]
) -> tuple[UtteranceView, ...]:
    left, views = AUDIO_BYTES, []
    for row in rows:
        sound = audio.get(row.id, b"")
        fits = bool(sound) and len(sound) <= left
        left -= len(sound) if fits else 0
        views.append(
            UtteranceView(
                row=row,
                pairs=align(row.reference, row.hypothesis),
                close=by_characters(row.reference + row.hypothesis),
                audio=f"data:audio/wav;base64,{base64.b64encode(sound).decode()}" if fits else "",
            )
        )
    return tuple(views)


def _powers(checks: Sequence[Check]) -> Iterator[PowerRow]:
    for check in checks:
        if (power := check.power) is None:
            continue
        enough = "no amount of data like this"
        if power.clusters_needed is not None and power.utterances_needed is not None:
            enough = f"{power.utterances_needed:,} in {power.clusters_needed:,} clusters"
        passes = "-" if power.passes_if_equal is None else percent(power.passes_if_equal)
        yield PowerRow(check, quantity(power.detects, check.unit), passes, enough)


def _numbers(check: Check) -> NumberRow:
    return NumberRow(
        check,
        of_check(check, check.value),
        interval(check),
        of_check(check, check.limit),
        _chance(check.p_value),
        _chance(check.adjusted_p),
    )


def _chance(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _origin(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What decided the report, flat, in the order of its keys; the policy is shown apart."""
    for key, value in sorted(provenance.items()):
        if key == "policy":
            continue
        if isinstance(value, dict):
            for name, inner in sorted(value.items()):
                yield f"{key}: {name}", "none" if inner is None else str(inner)
        else:
            yield key.replace("_", " "), str(value)
