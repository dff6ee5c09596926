"""Which variants are worth having: the front over quality, size and latency, and its picture.

A variant is on the front when no other is at least as good in all three and better in one.
`front` is a pure function; `plot` draws what a person needs to choose. Neither decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Point:
    """One variant's three figures, lower is better in each.

    `loss` is how much worse its quality is than the parent's, [loss_low, loss_high] its
    interval; `holds` says whether it may be chosen.
    """

    name: str
    loss: float
    loss_low: float
    loss_high: float
    size_bytes: int
    p50_ms: float
    holds: bool = True
    chosen: bool = False


def front(points: Iterable[Point]) -> frozenset[str]:
    """Names of the points that no other point dominates."""
    every = tuple(points)
    return frozenset(one.name for one in every if not any(dominates(other, one) for other in every))


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is at least as good as `other` in everything, and better in something."""
    mine, theirs = _figures(one), _figures(other)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


def _figures(point: Point) -> tuple[float, float, float]:
    return point.loss, point.size_bytes, point.p50_ms


# Colours of Okabe and Ito, which colour-blind people tell apart, on light and on dark.
_ON_FRONT, _OFF, _CHOSEN, _MARGIN = "#0072b2", "#9a9a9a", "#009e73", "#d55e00"
# Stand-ins that the SVG's own style replaces, so that text follows the reader's light or dark.
_INK, _PAPER, _BLUE = "#101112", "#fdfeff", "#0171b1"
_STYLE = (
    "<style>:root{--ink:#1c1c1c;--paper:#ffffff;--blue:#0072b2}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#161616;--blue:#56b4e9}}"
    "</style>"
)


def plot(points: Sequence[Point], path: Path, *, margin: float, title: str = "") -> None:
    """Draw loss against size and against latency into `path` (.svg or .png).

    Each point carries a number that the list beside it explains; whiskers are the interval of
    its loss, the dashed line is the margin. A loss far beyond the margin is drawn at the top
    edge as an arrow. The SVG is self-contained, follows the reader's light or dark, and is the
    same bytes for the same points.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sluice",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10.5, max(3.6, 1.6 + 0.24 * len(points))), layout="constrained")
        figure.patch.set_facecolor(_PAPER)
        by_size, by_time, words = figure.subplots(1, 3, width_ratios=(3, 3, 2.6))
        shown, top = front(points), _top(points, margin)
        for axes, label in ((by_size, "size, MB"), (by_time, "median latency, ms")):
            _frame(axes, label, margin, top)
        for number, point in enumerate(points, 1):
            colour = _colour(point, shown)
            _mark(by_size, point.size_bytes / 1e6, point, number, colour, top)
            _mark(by_time, point.p50_ms, point, number, colour, top)
        by_size.set_ylabel("loss of quality (lower is better)")
        _explain(words, points, shown)
        figure.suptitle(title, color=_INK, x=0.01, ha="left", fontsize=11)
        _save(figure, path)


def _top(points: Sequence[Point], margin: float) -> float:
    """Upper end of the loss axis: three margins, or all that holds."""
    holding = [point.loss_high for point in points if point.holds]
    return 1.15 * max([3 * margin, *holding, 1e-9])


def _frame(axes: Any, label: str, margin: float, top: float) -> None:
    axes.set_facecolor("none")
    axes.set_xlabel(label)
    axes.set_ylim(-0.35 * top, top)
    axes.axhline(0, color=_INK, linewidth=0.6, alpha=0.5)
    axes.axhline(margin, color=_MARGIN, linewidth=1.2, linestyle="--")
    axes.annotate(
        "margin",
        (1, margin),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        color=_MARGIN,
        fontsize=8,
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.margins(x=0.12)


def _mark(axes: Any, x: float, point: Point, number: int, colour: str, top: float) -> None:
    beyond = point.loss > top
    y = 0.95 * top if beyond else max(point.loss, -0.3 * top)
    if not beyond:
        low, high = max(point.loss_low, -0.34 * top), min(point.loss_high, top)
        axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    marker = "^" if beyond else "o"
    face = colour if point.holds else _PAPER
    axes.plot(
        [x], [y], marker, markersize=13, markerfacecolor=face, markeredgecolor=colour, zorder=3
    )
    axes.annotate(
        str(number),
        (x, y),
        ha="center",
        va="center",
        fontsize=7.5,
        fontweight="bold",
        color="#ffffff" if point.holds else _INK,
        zorder=4,
    )


def _colour(point: Point, shown: frozenset[str]) -> str:
    if point.chosen:
        return _CHOSEN
    return _ON_FRONT if point.name in shown else _OFF


def _explain(axes: Any, points: Sequence[Point], shown: frozenset[str]) -> None:
    axes.axis("off")
    lines = [("filled: within the margin   green: chosen", _INK, "normal")]
    lines += [("blue: on the front   grey: dominated", _INK, "normal"), ("", _INK, "normal")]
    for number, point in enumerate(points, 1):
        weight = "bold" if point.chosen else "normal"
        lines.append((f"{number}  {point.name}", _INK, weight))
        if point.name in shown and not point.chosen:
            lines[-1] = (lines[-1][0], _BLUE, "normal")
    step = 1 / max(12, len(lines))
    for row, (text, colour, weight) in enumerate(lines):
        axes.text(0, 1 - row * step, text, color=colour, fontweight=weight, va="top", fontsize=8.5)


def _save(figure: Any, path: Path) -> None:
    from io import BytesIO

    from registry.files import write_atomic

    if path.suffix == ".png":
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=150, facecolor=_PAPER, metadata={"Software": None})
        write_atomic(path, buffer.getvalue())
        return
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", facecolor=_PAPER, metadata={"Date": None})
    text = buffer.getvalue().decode()
    head, opening, rest = text.partition("<svg ")
    tag, close, body = rest.partition(">")
    for stand_in, variable in ((_INK, "ink"), (_PAPER, "paper"), (_BLUE, "blue")):
        body = body.replace(stand_in, f"var(--{variable})")
    write_atomic(path, f"{head}{opening}{tag}{close}{_STYLE}{body}".encode())
