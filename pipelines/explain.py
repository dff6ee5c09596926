"""A rollout explained from the journal: the chain is checked first, nothing is asked or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.explain import explain
from registry.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from canary.explanation import Explanation
    from pipelines.assembly import Platform


def explain_rollout(platform: Platform, model: str, rollout: int | None = None) -> Explanation:
    """One rollout of the model, by default the latest.

    Raises UserError when there is none with that number, IntegrityError for a broken journal.
    """
    platform.workspace.require_model(model)
    platform.journal.verify(model)
    return explain(platform.journal.read(model), rollout)


def write_page(explanation: Explanation, page: Path) -> None:
    """Write the explanation as one HTML file. Raises PermanentEngineError when it cannot be."""
    from canary.explain_page import render_html

    write_atomic(page, render_html(explanation).encode())
