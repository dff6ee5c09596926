"""Each alert has its page, each page its alert, and what a page says to type can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .typed import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "docs" / "runbooks"
INDEX = FOLDER / "README.md"
PAGES = {path.stem: path for path in sorted(FOLDER.glob("*.md")) if path != INDEX}
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for path in sorted((CHECKOUT / "infra" / "prometheus").glob("*rules*.yml"))
    for group in yaml.safe_load(path.read_text()).get("groups", ())
    for rule in group["rules"]
    if "alert" in rule
}
HEADINGS = [
    "What it means",
    "What to look at",
    "What to do",
    "How to go back",
    "Whom to wake",
]


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    named = {name for name in PAGES if name.startswith("Sluice")}
    assert named == set(ALERTS)
    assert len(ALERTS) >= 8


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_names_its_page(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook"].endswith(f"docs/runbooks/{name}.md")


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_answers_the_same_five_questions(name: str) -> None:
    text = PAGES[name].read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        assert len(section.split()) >= 8, "a heading without an answer"


def test_the_index_has_every_page_and_each_alerts_severity() -> None:
    text = INDEX.read_text()
    assert set(re.findall(r"\((\w[\w-]*)\.md\)", text)) == set(PAGES)
    rows = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", text, re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Each command of a page, and whether it stands in a block to be copied."""
    for block in re.findall(r"^ *```console\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.split()[:1] == ["sluice"]:
                yield line.strip(), True
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for span in re.findall(r"`(sluice\b[^`]*)`", prose):
        yield " ".join(span.split()), False


@pytest.mark.parametrize("name", ["README", *sorted(PAGES)])
def test_every_command_of_a_page_can_be_typed(name: str) -> None:
    found = list(commands((FOLDER / f"{name}.md").read_text()))
    assert found
    for line, copied in found:
        words = shlex.split(line)[1:]
        assert not (wrong := error_of(words, named_only=not copied)), f"`{line}`: {wrong}"


def test_a_wrong_command_would_be_found() -> None:
    assert "verfy" in error_of(["journal", "verfy"])
    assert "--ancor" in error_of(["journal", "verify", "--ancor", "file"])
    assert error_of(["rollback"])
    assert error_of(["journal"])
    assert not error_of(["rollback"], named_only=True)
    assert not error_of(["journal", "verify", "--anchor", "file"])
