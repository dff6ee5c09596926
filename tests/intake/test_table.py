"""The page's table is what a run says now."""

from __future__ import annotations

from .attacks import ATTACKS
from .table import PAGE, page


def test_the_page_holds_what_a_run_says() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run `python -m tests.intake.table`"
    assert "**came in**" not in text
    assert text.count("\n| ") > len(ATTACKS)
