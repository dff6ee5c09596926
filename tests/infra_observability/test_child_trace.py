"""What a converting child did is in the trace of the command that asked for it."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from pipelines.conversion import child, job
from pipelines.conversion.recipes import recipe_of
from registry.errors import EngineError, UserError
from registry.spans import Kept, span, watching
from tests.conversion.test_child import PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
sys.path.insert(0, {checkout!r})
from registry.spans import Kept, span, watching
kept = Kept()
if request["traceparent"]:
    with watching(kept), span("convert in a child", parent=request["traceparent"]):
        with span("make onnx-fp32"):
            pass
made("onnx-fp32")
answer(variants=[made_before], spans=[one.to_json() for one in kept.spans])
"""


def convert(tmp_path: Path, source: Path) -> None:
    python = tmp_path / "python"
    program = textwrap.dedent(PROGRAM).format(checkout=str(child.CHECKOUT))
    program = program.replace('made("onnx-fp32")\n', 'made_before = made("onnx-fp32")\n')
    python.write_text(f"#!{sys.executable}\n{PRELUDE}{program}")
    python.chmod(0o755)
    child.convert(
        "whisper",
        source,
        [recipe_of("whisper", "onnx-fp32")],
        tmp_path / "out",
        parent_digest="a" * 64,
        python=python,
        environment_hash="b" * 64,
    )


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the child's program does not look at."""
    monkeypatch.setattr(child, "_check", lambda *_: None)
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_spans_of_the_child_come_back_into_the_trace(tmp_path: Path, source: Path) -> None:
    kept = Kept()
    with watching(kept), span("convert"):
        convert(tmp_path, source)
    spans = {one.name: one for one in kept.spans}
    assert list(spans) == ["make onnx-fp32", "convert in a child", "convert"]
    outer, inner, made = spans["convert"], spans["convert in a child"], spans["make onnx-fp32"]
    assert len({one.trace_id for one in kept.spans}) == 1
    assert (made.parent_id, inner.parent_id) == (inner.span_id, outer.span_id)
    assert outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns


def test_where_nobody_watches_the_child_is_told_of_no_trace(tmp_path: Path, source: Path) -> None:
    convert(tmp_path, source)
    assert (tmp_path / "out" / "onnx-fp32").is_dir()


def test_the_real_job_keeps_its_spans_and_how_they_failed() -> None:
    kept = Kept()
    request = {"kind": "no-such-kind", "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    with pytest.raises((UserError, EngineError, KeyError)):
        job._traced(request, kept)
    (found,) = kept.spans
    assert (found.trace_id, found.parent_id) == ("1" * 32, "2" * 16)
    assert found.error
