"""The one list of kinds of model. A new kind is one line here, and folders of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.conversion.ctc_speech.kind import KIND as CTC_SPEECH
from pipelines.conversion.lip_reading.kind import KIND as LIP_READING
from pipelines.conversion.llm.kind import KIND as LLM
from pipelines.conversion.translation.kind import KIND as TRANSLATION
from pipelines.conversion.voice_cleaning.kind import KIND as VOICE_CLEANING
from pipelines.conversion.whisper.kind import KIND as WHISPER
from registry.errors import UserError

if TYPE_CHECKING:
    from pipelines.conversion.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (WHISPER, CTC_SPEECH, LIP_READING, TRANSLATION, LLM, VOICE_CLEANING)
}


def kind_of(name: str) -> Kind:
    """The kind called `name`. Raises UserError that lists the known ones."""
    if name not in KINDS:
        raise UserError(f"{name!r} is not a kind of model", remedy=f"there are {', '.join(KINDS)}")
    return KINDS[name]
