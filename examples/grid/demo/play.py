"""All acts, in their order, on a new workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acts import MODEL, go_back, go_live, improve, refuse, survive
from drift_acts import louder, slower

if TYPE_CHECKING:
    from acts import Story


def play(story: Story) -> None:
    """Play them, and keep the whole history."""
    sluice = story.sluice
    evaluation = str(story.grid / "data" / "evaluation")
    sluice("init", str(sluice.workspace), "--model", MODEL, "--dataset", evaluation)
    sluice("up")
    for act in (go_live, improve, refuse, survive, louder, slower, go_back):
        act(story)
    story.history = sluice("history", MODEL, "--all", "--limit", "100000")
    story.client.stop()
