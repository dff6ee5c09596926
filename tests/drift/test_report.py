"""The drift page and its JSON: what stands where, what is escaped, and that it needs nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from drift.assessment import assess
from drift.case import Case, Mute, Severity
from drift.evidence_view import Evidence
from drift.evidently_page import CONTENT_POLICY, write_evidently
from drift.policy import DriftPolicy
from drift.records import AbsentColumns, Remark, SkippedPart
from drift.report import DriftReport, write_report
from drift.report_page import render_html
from drift.report_view import movers
from drift.report_words import done, headline, next_steps, spent_line
from drift.spent import Spent
from drift.timeline import Event, Judged, Live, Muted, Timeline
from drift.verdicts import Quiet
from drift.windows import Window, same_hours
from drift.worst_pairs import PairedAnswer, WorstPair

from .conftest import twelve_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Table = Callable[..., pa.Table]

WINDOW = Window(1_795_226_400, 1_795_230_000)
POLICY = DriftPolicy(permutations=199)
AT = 1_795_230_012.0
CASE = Case(
    number=3,
    release=4,
    severity=Severity.ACT,
    columns=("c0",),
    reason="c0 moved",
    alpha=0.005,
    since=WINDOW.since,
    until=WINDOW.until,
    opened_at=AT - 7200,
)


def report_of(
    reference: pa.Table, window: pa.Table, *, actions: tuple[str, ...] = ()
) -> DriftReport:
    return DriftReport(
        model="grid-speech",
        releases=(4,),
        window=WINDOW,
        references=same_hours(WINDOW, 7),
        at=AT,
        assessment=assess(reference, window, POLICY),
        actions=actions,
        skipped=(SkippedPart("model=grid-speech/release=4/part-1.parquet", "<cut off>"),),
        absent=(AbsentColumns(3, ("snr_db",)),),
    )


@pytest.fixture(scope="module")
def alarm() -> DriftReport:
    rng = np.random.default_rng(20_261_121)
    window = twelve_columns(rng, 600, shift=1.0)
    window = window.set_column(5, "c5", pa.array(np.full(600, np.nan)))
    return report_of(twelve_columns(rng, 3000), window, actions=("A case was opened <at once>.",))


class Outline(HTMLParser):
    """Tags that are open, in order, and every attribute's value."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]
        if tag not in {"meta", "rect", "line", "polyline", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def whole(alarm: DriftReport) -> DriftReport:
    """Every part that a page can have, with words of others that try to be markup."""
    curve = tuple((AT - 600 + 10 * i, 20 * i, 1.2**i) for i in range(1, 41))
    answers = (
        PairedAnswer(3, (), -0.3, "put the <b>red</b> cube"),
        PairedAnswer(4, ("empty",), float("nan"), None),
    )
    span = Window(AT - 30 * 86_400, AT)
    return replace(
        alarm,
        case=CASE,
        mute=Mute(AT + 60, (), "ann", "<em>load test</em>"),
        spent=Spent(2, 1, 0, 1.0),
        evidence=Evidence(curve, 0.005, "model: 64 against 21", 3),
        pairs=(WorstPair("r<1>", "s<1>", AT - 60, *answers),),
        paired=812,
        timeline=Timeline(
            span=span,
            live=(Live(3, AT - 40 * 86_400, AT - 86_400), Live(4, AT - 86_400, AT)),
            judged=(Judged(AT - 7200, AT - 3600, "alarm"), Judged(AT - 3600, AT, "quiet")),
            cases=(CASE,),
            muted=(Muted(AT - 3600, AT + 60, (), "<em>load test</em>"),),
            events=(Event(AT - 7200, "alarm", "case 3 opened <now>"),),
        ),
        appendix="evidently.html",
        remarks=(Remark("duplicate", "model=x/release=4", 3, "3 records stand there twice"),),
    )


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("<main>")[1]).split())


def test_the_verdict_comes_first_then_what_to_do_and_what_was_done(alarm: DriftReport) -> None:
    text = text_of(render_html(alarm))
    assert text.startswith("Alarm: the traffic is not what it was")
    parts = (
        "What to do",
        "What was done",
        "A case was opened",
        "c5: every value is missing",
        "What moved most",
        "Column by column",
        "All numbers",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "14 more days are needed" in text


def test_a_case_is_told_from_its_budget_to_its_timeline(whole: DriftReport) -> None:
    text = text_of(render_html(whole))
    parts = (
        "Alarms 2 in 30 days; the budget is 1 false a month, 1 real, 1 unexplained",
        "The current release is worse than release 3 on the same inputs over the line",
        "What moved most",
        "Column by column",
        "Worst paired outputs 812 requests",
        "Releases and alarms",
        "duplicate",
        "Evidently's own report",
    )
    places = [text.index(part) for part in parts if part != "duplicate"]
    assert places == sorted(places)
    assert "3 records stand there twice" in text
    assert "acts at 200" in text


@pytest.mark.parametrize(
    ("found", "rolled_back_to", "line", "step"),
    [
        ("", None, "the traffic is not what it was", "800 pairs do not say yet"),
        ("model", None, "Go back: release 4 is worse", "sluice rollback grid-speech"),
        ("model", 3, "Rolled back: release 4 was worse", "Nothing is urgent"),
        ("data", None, "the world changed", "Leave the release where it is"),
        ("neither", None, "no release is the worse for it", "sluice drift clear"),
    ],
)
def test_the_headline_and_the_first_step_say_what_the_case_found(
    whole: DriftReport, found: str, rolled_back_to: int | None, line: str, step: str
) -> None:
    case = replace(CASE, attribution=found, rolled_back_to=rolled_back_to)
    report = replace(whole, case=case)
    assert line in headline(report)
    assert any(step in one for one in next_steps(report))
    assert any("sluice drift ack" in one for one in next_steps(report))
    taken = replace(report, case=replace(case, acknowledged_by="ann"))
    assert not any("sluice drift ack" in one for one in next_steps(taken))
    moved = any("Traffic was moved back to release 3" in one for one in done(case, None, AT))
    assert moved is (rolled_back_to is not None)


def test_a_way_back_is_the_headline_whatever_the_window_says(whole: DriftReport) -> None:
    back = replace(
        CASE, attribution="model", rolled_back_to=3, ended_at=AT, end="traffic went back"
    )
    quiet = replace(
        whole.assessment, judgement=replace(whole.assessment.judgement, outcome=Quiet("as before"))
    )
    report = replace(whole, case=back, assessment=quiet)
    assert headline(report) == "Rolled back: release 4 was worse; traffic went back to 3"
    assert '<section class="verdict alarm">' in render_html(report)
    assert next_steps(report)[0].startswith("Nothing is urgent")
    assert not any("clear" in step for step in next_steps(report))
    over = replace(report, case=replace(back, attribution="data", rolled_back_to=None))
    assert headline(over) == "Quiet: the traffic is what it was"
    assert next_steps(over) == ("Nothing.",)


def test_what_nobody_knows_of_an_alarm_is_not_called_false() -> None:
    assert "unexplained" not in spent_line(Spent(1, 0, 1, 1.0))
    assert "1 not decided yet" in spent_line(Spent(1, 0, 1, 1.0))
    assert spent_line(Spent(0, 0, 0, 0.5)) == "in 30 days; the budget is 0.5 false a month"


def test_the_columns_that_moved_most_are_told_in_their_own_units() -> None:
    rng = np.random.default_rng(3)

    def side(snr: float, empty: float, rows: int = 2000) -> pa.Table:
        return pa.table(
            {
                "snr_db": rng.normal(snr, 4, rows),
                "empty": rng.random(rows) < empty,
                "duration_s": rng.gamma(4, 1, rows),
                "rms": np.where(rng.random(rows) < 0.5 * (snr < 18), np.nan, 0.1),
            }
        )

    moved = {one.name: one for one in movers(assess(side(20, 0.02), side(14, 0.2), POLICY))}
    assert list(moved) == ["snr_db", "rms", "empty"]
    snr, empty, rms = moved["snr_db"], moved["empty"], moved["rms"]
    assert (snr.title, snr.arrow) == ("Speech over noise", "↓")
    assert re.fullmatch(r"-[56]\.\d+ dB", snr.change)
    assert re.fullmatch(r"\+1\d\.\d points", empty.change)
    assert empty.arrow == "↑"
    assert re.fullmatch(r"\+\d\d\.\d points missing", rms.change)
    assert "missing 0.0% →" in rms.sentence


def test_the_page_is_well_formed_and_needs_nothing_else(whole: DriftReport) -> None:
    page = render_html(whole)
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert not [value for value in outline.values if "//" in value]
    assert "url(" not in page
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "prefers-color-scheme: dark" in page
    assert 'content="width=device-width, initial-scale=1"' in page


def test_what_others_wrote_is_escaped(whole: DriftReport) -> None:
    page = render_html(whole)
    for markup in ("<b>red", "<em>", "<now>", "<1>"):
        assert markup not in page
        assert markup.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "&lt;cut off&gt;" in page
    assert "&lt;at once&gt;" in page
    assert "<cut off>" not in page


def test_every_column_is_drawn_broken_ones_first(alarm: DriftReport) -> None:
    cards = render_html(alarm).split("Column by column")[1]
    names = re.findall(r"<h3>(\w+)</h3>", cards)
    assert names[0] == "c5"
    assert names[1] == "c0"
    assert sorted(names) == sorted(f"c{number}" for number in range(12))


def test_too_little_data_is_said_with_how_much_is_needed(
    table: Table, rng: np.random.Generator
) -> None:
    page = render_html(report_of(table(rng, 3000), table(rng, 40)))
    assert "Not enough data: nothing can be said yet" in page
    assert re.search(r"Needed: [\d,]+ more sessions in the window", page)
    assert "as before" not in page


def test_an_empty_window_has_a_page(table: Table, rng: np.random.Generator) -> None:
    page = render_html(report_of(table(rng, 3000), table(rng, 0)))
    assert "the window is empty" in page
    assert "nan" not in text_of(page).lower()


def test_json_is_the_whole_report_and_always_the_same(alarm: DriftReport) -> None:
    body = json.loads(alarm.to_json())
    assert body["verdict"] == "alarm"
    assert body["assessment"]["judgement"]["outcome"]["columns"][0] == "c5"
    assert set(body["effects"]) == {f"c{number}" for number in range(12)} - {"c5"}
    assert body["profile"] == alarm.assessment.profile.hash
    assert alarm.to_json() == alarm.to_json()


def test_both_files_are_written(alarm: DriftReport, tmp_path: Path) -> None:
    page, values = write_report(alarm, tmp_path / "reports")
    assert page.read_text() == render_html(alarm)
    assert values.read_bytes() == alarm.to_json()


def test_json_holds_the_case_the_curve_and_the_pairs(whole: DriftReport) -> None:
    body = json.loads(whole.to_json())
    assert body["case"]["severity"] == "act"
    assert body["evidence"]["curve"][-1][1] == 800
    assert body["pairs"][0]["current"]["log_probability"] is None
    assert body["timeline"]["live"][0]["release"] == 3


def test_columns_that_nobody_writes_are_named_and_not_drawn() -> None:
    rng = np.random.default_rng(3)
    nothing = pa.nulls(400, pa.float64())
    sides = [pa.table({"rms": rng.normal(size=400), "motion": nothing}) for _ in range(2)]
    page = render_html(report_of(*sides))
    assert "Without a value on either side: motion." in text_of(page)
    assert "<h3>motion</h3>" not in page
    assert "<h3>rms</h3>" in page


# Evidently and its own dependencies warn while they are imported and while they run.
@pytest.mark.filterwarnings("ignore")
def test_evidentlys_page_leaves_out_what_it_refuses(
    table: Table, rng: np.random.Generator, tmp_path: Path
) -> None:
    window = table(rng, 200).set_column(1, "c1", pa.nulls(200, pa.float64())).drop_columns(["c2"])
    path = tmp_path / "evidently.html"
    written = write_evidently(table(rng, 300), window, ("c0", "c1", "c2"), path, most_rows=250)
    assert written is not None
    assert (written.columns, written.left_out, written.rows) == (("c0",), ("c1", "c2"), (250, 200))
    page = path.read_text()
    assert "c0" in page
    # Before anything that it forbids: nothing of the page can ask a network.
    assert page.index(CONTENT_POLICY) < page.index("<style")
    assert "default-src 'none'" in CONTENT_POLICY
    assert write_evidently(table(rng, 300), window, ("c1", "c2"), path) is None
