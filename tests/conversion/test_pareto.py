from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.conversion.pareto import Point, dominates, front, plot

if TYPE_CHECKING:
    from pathlib import Path


def point(name: str, loss: float, size: int, time: float) -> Point:
    return Point(name, loss, loss - 0.01, loss + 0.01, size, time)


figure = st.integers(0, 4)
POINTS = st.lists(st.tuples(figure, figure, figure), max_size=12).map(
    lambda rows: [point(f"v{i}", a / 100, b, float(c)) for i, (a, b, c) in enumerate(rows)]
)


@given(POINTS)
def test_front_is_exactly_what_nothing_dominates(points: list[Point]) -> None:
    shown = front(points)
    for one in points:
        better = [
            other
            for other in points
            if other.loss <= one.loss
            and other.size_bytes <= one.size_bytes
            and other.p50_ms <= one.p50_ms
            and (other.loss, other.size_bytes, other.p50_ms)
            != (one.loss, one.size_bytes, one.p50_ms)
        ]
        assert (one.name in shown) == (not better)


@given(POINTS)
def test_what_is_left_out_is_dominated_by_something_on_the_front(points: list[Point]) -> None:
    shown = front(points)
    assert bool(shown) == bool(points)
    for one in points:
        if one.name not in shown:
            assert any(dominates(other, one) for other in points if other.name in shown)


@given(POINTS)
def test_front_does_not_depend_on_the_order(points: list[Point]) -> None:
    assert front(points) == front(reversed(points))
    assert front(points + points) == front(points)


def test_equal_points_are_both_on_the_front() -> None:
    assert front([point("a", 0, 1, 1), point("b", 0, 1, 1)]) == {"a", "b"}


SAMPLE = [
    Point("onnx-fp32", 0, 0, 0, 4_000_000, 6.0),
    Point("onnx-int8", 0.001, -0.001, 0.002, 1_500_000, 4.0, chosen=True),
    Point("openvino-int4-0a1b2c3d", 0.5, 0.4, 0.6, 900_000, 5.0, holds=False),
    Point("onnx-<&>", 0.001, 0.0, 0.002, 5_000_000, 9.0),
]


def test_picture_is_self_contained_and_follows_light_and_dark(tmp_path: Path) -> None:
    plot(SAMPLE, tmp_path / "front.svg", margin=0.003, title="Smallest & best")
    text = (tmp_path / "front.svg").read_text()
    root = ET.fromstring(text)  # noqa: S314 - written a line above
    words = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"1  onnx-fp32", "4  onnx-<&>", "margin", "Smallest & best"} <= words
    assert "prefers-color-scheme:dark" in text
    assert "var(--ink)" in text
    outside = set(re.findall(r'(?:href|src)="([^#"]+)', text))
    assert not outside
    assert "<script" not in text


def test_picture_is_the_same_for_the_same_points(tmp_path: Path) -> None:
    plot(SAMPLE, tmp_path / "one.svg", margin=0.003)
    plot(SAMPLE, tmp_path / "two.svg", margin=0.003)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("margin", [0.0, 0.003])
def test_picture_of_one_point_without_a_margin_is_drawn(tmp_path: Path, margin: float) -> None:
    plot(SAMPLE[:1], tmp_path / "front.png", margin=margin)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
