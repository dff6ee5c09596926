"""The report's page: what it says, that it needs nothing from outside, and that text stays text."""

from __future__ import annotations

import base64
import dataclasses
import re

import pytest
from lxml import html

from validation.evidence import Check, GateReport, WorstUtterance
from validation.report_page import AUDIO_BYTES, render
from validation.verdict import Verdict

from .reports import REPORT, with_verdict


def page(report: GateReport = REPORT, **audio: bytes) -> html.HtmlElement:
    text = render(report, model="speech", variant="onnx-int8", audio=audio)
    return html.fromstring(text)


def words(element: html.HtmlElement) -> str:
    return " ".join(" ".join(element.itertext()).split())


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_and_what_to_do_come_first(verdict: Verdict) -> None:
    first = page(with_verdict(verdict)).find(".//main")[0]
    assert first.get("class") == f"verdict {verdict.label}"
    assert first.find("h1").text.lower().startswith(f"{verdict.label}: ")
    assert first.findall(".//li")


def test_advice_follows_from_the_checks() -> None:
    failed = words(page().find(".//section"))
    assert "Do not release this variant." in failed
    assert "The release that serves now answers the same utterances better." in failed
    undecided = words(page(with_verdict(Verdict.INCONCLUSIVE)).find(".//section"))
    assert "About 1,200 utterances of 84 different speakers" in undecided
    assert "sluice promote speech -v onnx-int8" in words(
        page(with_verdict(Verdict.PASS)).find(".//section")
    )


def test_the_page_needs_nothing_from_outside() -> None:
    document = page(REPORT, u2=b"RIFF sound")
    assert not list(document.iter("script", "link", "iframe", "img", "object"))
    places = [
        value
        for element in document.iter()
        for name, value in element.attrib.items()
        if name in {"src", "href", "srcset", "data", "poster"}
    ]
    assert len(places) == 1
    assert places[0].startswith("data:audio/wav;base64,")
    style = document.find(".//style").text
    assert not re.search(r"url\(|@import|https?:", style)


def test_absolute_values_differences_and_costs_are_apart() -> None:
    titles = [words(title) for title in page().iter("h2")]
    assert titles[1:5] == [
        "Quality",
        "Difference to its parent",
        "Difference to production",
        "Speed and size",
    ]


def test_every_check_with_an_interval_is_drawn_with_its_mark() -> None:
    strips = page().xpath("//svg[@role='img']")
    assert [strip.get("aria-label") for strip in strips] == [
        "fine",
        "a|b <i>",
        "needs 40 more utterances",
        "worse by chrF",
        "too few",
    ]
    shapes = [[mark.tag for mark in strip.xpath(".//*[@class='point']")] for strip in strips]
    assert shapes == [["circle"], ["circle"], [], ["path"], ["circle"]]


def test_words_are_aligned_and_their_direction_is_the_texts_own() -> None:
    blocks = page().xpath("//div[@dir='auto']")
    assert len(blocks) == 3
    edits = [pair.get("class") for pair in blocks[1].xpath("./span")]
    assert edits == [
        "pair same",
        "pair same",
        "pair inserted",
        "pair same",
        "pair substituted",
    ]
    assert not blocks[2].xpath(".//*[@dir]")


def test_sound_is_in_the_page_as_far_as_it_fits() -> None:
    small, large = b"RIFF small", b"R" * (AUDIO_BYTES - 5)
    # An HTML parser refuses attributes as long as this one.
    text = render(REPORT, model="m", variant="v", audio={"u1": large, "u2": small})
    sounds = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', text)
    assert [base64.b64decode(sound) for sound in sounds] == [large]
    assert len(page(REPORT, u2=small, elsewhere=small).xpath("//audio")) == 1
    assert not page().xpath("//audio")


def test_power_costs_contract_and_origin_are_told() -> None:
    text = words(page())
    for told in (
        "wer_ over_ parent noise=noisy 1.50% 42% 1,200 in 84 clusters",
        "chrf_ over_ production all 1.25 over 99% no amount of data like this",
        "99th percentile 59.0 ms",
        "Peak memory 412.00 MB - none",
        "a <fast> one",
        "every id is its own id 2: u<1>, u2 broken",
        "too little data limit +1.00%",
        "dataset sha256 " + "ab" * 32,
        "signature: chrf nrefs:1|version:2.6.0",
    ):
        assert told in text


def test_text_from_models_and_data_is_never_markup() -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=y>"
    report = dataclasses.replace(
        REPORT,
        checks=(Check(hostile, hostile, Verdict.FAIL, hostile, 0.1, 0.0, 0.2, 0.05, unit=hostile),),
        worst_utterances=(WorstUtterance(hostile, hostile, hostile, 0, 0, 0, 4, hostile),),
        signatures={hostile: hostile},
        contract=(),
        performance=None,
    )
    text = render(report, model=hostile, variant=f"`{hostile}`")
    document = html.fromstring(text)
    assert not list(document.iter("script", "img"))
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("low", [None, -500.0, 0.0])
@pytest.mark.parametrize("high", [0.1, 1e9])
def test_marks_stay_in_their_strip(low: float | None, high: float) -> None:
    check = Check("wer", "all", Verdict.FAIL, "far", 0.1, low, high, 0.05, unit="share")
    strip = page(GateReport(Verdict.FAIL, (check,), {})).xpath("//svg[@role='img']")[0]
    places = [
        float(value.rstrip("%"))
        for element in strip.iter()
        for name, value in element.attrib.items()
        if name in {"x", "x1", "x2", "width"} and value.endswith("%")
    ]
    assert len(places) >= 8
    assert min(places) >= 0
    assert max(places) <= 100
    arrows = strip.xpath(".//path[@class='bar']")
    assert len(arrows) == (low is None or low < 0) + (high > 1)


@pytest.mark.parametrize("number", [0.0, 0.05, -2.0])
def test_values_that_are_all_alike_can_be_drawn(number: float) -> None:
    check = Check("wer", "all", Verdict.PASS, "same", number, number, number, number, unit="share")
    labels = page(GateReport(Verdict.PASS, (check,), {})).xpath("//svg/text")
    assert 1 <= len(labels) <= 8


def test_the_same_report_is_the_same_page() -> None:
    again = GateReport.from_json(REPORT.to_json())
    assert render(again, model="m", variant="v") == render(REPORT, model="m", variant="v")


def test_a_bare_report_has_a_page() -> None:
    bare = GateReport(Verdict.ERROR, (Check("answers", "all", Verdict.ERROR, "no data"),), {})
    text = words(page(bare))
    assert "no data" in text
    assert "Utterances with most errors" not in text
