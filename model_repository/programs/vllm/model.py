"""Triton's entry of a release that vLLM serves."""

from __future__ import annotations

# `serving` exists where publishing has put it, beside the release's copy of this file.
from serving.common.entry import Program
from serving.vllm.writer import Writer


class TritonPythonModel(Program):  # type: ignore[misc]  # known in a release only
    """One instance of one release: it asks the engine one question at a time."""

    answerer = Writer
