from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from drift.assessment import assess
from drift.evidently_page import write_evidently
from drift.policy import DriftPolicy
from drift.records import AbsentColumns, SkippedPart
from drift.report import DriftReport, render_html, write_report
from drift.windows import Window, same_hours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Table = Callable[..., pa.Table]

WINDOW = Window(1_795_226_400, 1_795_230_000)
POLICY = DriftPolicy(permutations=199)


def report_of(
    reference: pa.Table, window: pa.Table, *, actions: tuple[str, ...] = ()
) -> DriftReport:
    return DriftReport(
        model="grid-speech",
        releases=(4,),
        window=WINDOW,
        references=same_hours(WINDOW, 7),
        at=1_795_230_012,
        assessment=assess(reference, window, POLICY),
        actions=actions,
        skipped=(SkippedPart("model=grid-speech/release=4/part-1.parquet", "<cut off>"),),
        absent=(AbsentColumns(3, ("snr_db",)),),
    )


@pytest.fixture
def alarm(table: Table, rng: np.random.Generator) -> DriftReport:
    window = table(rng, 600, shift=1.0)
    window = window.set_column(5, "c5", pa.array(np.full(600, np.nan)))
    return report_of(table(rng, 3000), window, actions=("A case was opened <at once>.",))


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
        if tag not in {"meta", "rect", "line"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_verdict_comes_first_then_what_was_done(alarm: DriftReport) -> None:
    page = render_html(alarm)
    body = re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split()
    assert body[0] == "Alarm:"
    text = " ".join(body)
    assert text.index("c5: every value is missing") < text.index("A case was opened")
    assert text.index("A case was opened") < text.index("Column by column")
    assert "14 more days are needed" in text


def test_the_page_is_well_formed_and_needs_nothing_else(alarm: DriftReport) -> None:
    page = render_html(alarm)
    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert not [value for value in outline.values if "//" in value]
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'content="width=device-width, initial-scale=1"' in page


def test_what_others_wrote_is_escaped(alarm: DriftReport) -> None:
    page = render_html(alarm)
    assert "&lt;cut off&gt;" in page
    assert "&lt;at once&gt;" in page
    assert "<cut off>" not in page


def test_every_column_is_drawn_broken_ones_first(alarm: DriftReport) -> None:
    names = re.findall(r"<h3>(\w+)</h3>", render_html(alarm))
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
    assert "nan" not in page.lower()


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


# Evidently and its own dependencies warn while they are imported and while they run.
@pytest.mark.filterwarnings("ignore")
def test_evidentlys_page_leaves_out_what_it_refuses(
    table: Table, rng: np.random.Generator, tmp_path: Path
) -> None:
    window = table(rng, 200).set_column(1, "c1", pa.nulls(200, pa.float64())).drop_columns(["c2"])
    path = tmp_path / "evidently.html"
    left_out = write_evidently(table(rng, 300), window, ("c0", "c1", "c2"), path)
    assert left_out == ("c1", "c2")
    assert b"c0" in path.read_bytes()
