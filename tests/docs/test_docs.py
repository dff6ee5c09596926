"""What the documents say is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from cli.reference import TARGET, reference

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            found += [line for line in block.splitlines() if line.startswith("sluice ")]
    return sorted(set(found))


def test_the_reference_is_the_codes() -> None:
    assert TARGET.read_text() == reference(), "run `python -m cli.reference`"


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_documents_can_be_typed(line: str) -> None:
    words = [word for word in shlex.split(line.partition(" > ")[0]) if word != "sluice"]
    known = get_command(app).commands  # type: ignore[attr-defined]  # the app is a group
    known[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
