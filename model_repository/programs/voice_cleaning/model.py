"""Triton's entry of a voice-cleaning release."""

from __future__ import annotations

# `serving` exists where publishing has put it, beside the release's copy of this file.
from serving.common.entry import Program
from serving.voice_cleaning.cleaner import Cleaner


class TritonPythonModel(Program):  # type: ignore[misc]  # known in a release only
    """One instance of one release."""

    answerer = Cleaner
