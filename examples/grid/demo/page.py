"""The page that a person opens after the demo: what happened to the traffic, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from figures import (
    decision_time,
    faulty_release,
    is_faulty_answer,
    rollout_answers,
    rollout_times,
)

if TYPE_CHECKING:
    from acts import Story

WIDTH, HEIGHT = 900, 240
COLOURS = ("#3b76af", "#3f9b5b", "#c9761d", "#8a5bb0")
ERROR_COLOUR = "#c8382d"


def write_page(
    path: Path, story: Story, records: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Write one self-contained HTML file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    template = environment.get_template("page.html.j2")
    begun = story.acts[0][0]
    path.write_text(
        template.render(
            summary=summary,
            chart=chart(story, records),
            zoom=zoom(story, records),
            acts=[(round(at - begun), title) for at, title in story.acts],
            decisions=[
                (round(entry["at"] - begun, 1), entry["body"])
                for entry in story.history
                if entry["kind"] == "decided" and entry["body"]["decision"] != "hold"
            ],
            gates=story.gates,
            width=WIDTH,
            height=HEIGHT,
        )
    )


def chart(story: Story, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers a second by release, stacked, as SVG polygons; errors of the bad release on top."""
    faulty = faulty_release(story)
    answered = np.array([record["answered"] for record in records])
    begun, ended = story.acts[0][0], answered.max()
    seconds = np.arange(0, int(ended - begun) + 2)
    releases = sorted({record["release"] for record in records if record["release"]})
    layers = [(f"release {number}", COLOURS[number % 4], number) for number in releases]
    layers.append(("errors of the faulty release", ERROR_COLOUR, -1))
    keys = np.array(
        [
            -1 if is_faulty_answer(story, record, faulty) else record["release"] or 0
            for record in records
        ]
    )
    counts = {
        key: np.histogram(answered[keys == key] - begun, bins=seconds)[0] for _, _, key in layers
    }
    top = max(1, int(sum(counts.values()).max()))
    base = np.zeros(len(seconds) - 1)
    drawn = []
    for name, colour, key in layers:
        upper = base + counts[key]
        drawn.append({"name": name, "colour": colour, "points": _area(base, upper, top)})
        base = upper
    scale = WIDTH / (len(seconds) - 1)
    marks = [(round((at - begun) * scale, 1), n) for n, (at, _) in enumerate(story.acts, 1)]
    return {"layers": drawn, "marks": marks, "top": top, "seconds": len(seconds) - 1}


def zoom(story: Story, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Every answer of the faulty release while it was in the route, as places along the width."""
    faulty = faulty_release(story)
    over = rollout_times(story, faulty)[1] + 1.0
    bad = [r["answered"] for r in records if is_faulty_answer(story, r, faulty)]
    bad = [at for at in bad if at <= over]
    good = [r["answered"] for r in rollout_answers(story, records, faulty)]
    decided = decision_time(story, faulty)
    begun, ended = min(good + bad), max([decided, *good, *bad]) + 0.5
    seconds = ended - begun

    def along(at: float) -> float:
        return round((at - begun) / seconds * WIDTH, 1)

    return {
        "good": [along(at) for at in good],
        "bad": [along(at) for at in bad],
        "decided": along(decided),
        "seconds": seconds,
        "colour": COLOURS[faulty % 4],
    }


def _area(base: np.ndarray, upper: np.ndarray, top: int) -> str:
    x = np.linspace(0, WIDTH, len(base))
    along = [f"{a:.1f},{HEIGHT - b / top * HEIGHT:.1f}" for a, b in zip(x, upper, strict=True)]
    back = [f"{a:.1f},{HEIGHT - b / top * HEIGHT:.1f}" for a, b in zip(x, base, strict=True)]
    return " ".join(along + back[::-1])
