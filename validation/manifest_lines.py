"""`dataset.json` and `manifest.jsonl` as text: every bad line is named by its number.

Reads no audio; `dataset` joins these lines with the files they name.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_NAME = "dataset.json"
MANIFEST_NAME = "manifest.jsonl"

Text = Annotated[str, Field(min_length=1)]
DatasetKind = Literal["speech", "noisy-speech", "video", "text"]


class Header(BaseModel):
    """`dataset.json`: what the set is, and the hash of everything else in its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    kind: DatasetKind
    sample_rate: int = Field(gt=0, le=384_000)
    """Hertz; frames a second of video; 1 for text."""
    count: int = Field(gt=0)
    """Utterances."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Row(BaseModel):
    """One line of `manifest.jsonl`. Further columns are text and become slices.

    `text` is the reference; only where sound is compared with sound may it be empty.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    __pydantic_extra__: dict[str, str]

    id: Text
    text: str
    speaker: Text

    @property
    def columns(self) -> dict[str, str]:
        """Everything that describes the utterance, by column name."""
        return {"speaker": self.speaker, **(self.model_extra or {})}

    @property
    def path(self) -> str:
        """The file that is asked, empty for a text."""
        return ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of the line, what is asked first."""
        return (self.path,) if self.path else ()

    @property
    def seconds(self) -> float:
        """How long it lasts; 0 for a text."""
        return 0.0


class SpeechRow(Row):
    """A recording and what was said."""

    audio_filepath: Text
    duration: float = Field(gt=0, allow_inf_nan=False)
    """Seconds."""

    @property
    def path(self) -> str:
        """The recording."""
        return self.audio_filepath

    @property
    def seconds(self) -> float:
        """See Row."""
        return self.duration


class NoisySpeechRow(SpeechRow):
    """A noisy recording, and the same without the noise; what was said need not be known."""

    text: str = ""
    clean_filepath: Text

    @property
    def paths(self) -> tuple[str, ...]:
        """See Row."""
        return (self.audio_filepath, self.clean_filepath)


class VideoRow(Row):
    """Frames of a mouth and what it said."""

    video_filepath: Text
    duration: float = Field(gt=0, allow_inf_nan=False)
    """Seconds."""

    @property
    def path(self) -> str:
        """The frames."""
        return self.video_filepath

    @property
    def seconds(self) -> float:
        """See Row."""
        return self.duration


class TextRow(Row):
    """A text, and what should become of it."""

    source: Text


_ROWS: dict[str, type[Row]] = {
    "speech": SpeechRow,
    "noisy-speech": NoisySpeechRow,
    "video": VideoRow,
    "text": TextRow,
}


def parse_header(content: bytes, where: str) -> Header:
    """Read `dataset.json`. Raises UserError that names the key."""
    try:
        return Header.model_validate_json(content)
    except ValidationError as error:
        raise UserError(_first_mistake(error), where=where) from error


def parse_rows(content: bytes, where: str, kind: DatasetKind = "speech") -> tuple[Row, ...]:
    """Read the `manifest.jsonl` of a set of this kind.

    Raises UserError with the number of the first bad line.
    """
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise UserError("the set holds no utterance", where=where)
    shape = _ROWS[kind]
    rows = tuple(
        _parse_row(shape, line, f"{where}:{number}") for number, line in enumerate(lines, 1)
    )
    _refuse_repeats([row.id for row in rows], "id", where)
    for files in zip(*(row.paths for row in rows), strict=True):
        _refuse_repeats(files, "file", where)
    return rows


def _parse_row(shape: type[Row], line: bytes, where: str) -> Row:
    try:
        row = shape.model_validate_json(line)
    except ValidationError as error:
        raise UserError(_first_mistake(error), where=where) from error
    if not row.text.strip() and (row.text or not isinstance(row, NoisySpeechRow)):
        raise UserError(
            f"utterance {row.id!r} has an empty reference",
            where=where,
            remedy="write what is right, or take the line out",
        )
    for name in (row.id, *row.paths):
        if unicodedata.normalize("NFC", name) != name:
            raise UserError(
                f"{name!r} is not in Unicode's normal form C",
                where=where,
                remedy="two spellings of one name would be two names",
            )
    for name in row.paths:
        path = PurePosixPath(name)
        unsafe = path.is_absolute() or ".." in path.parts or "\\" in name
        if unsafe or path.as_posix() != name:
            raise UserError(
                f"the file {name!r} is not a plain path inside the set's folder", where=where
            )
    return row


def _refuse_repeats(names: Sequence[str], what: str, where: str) -> None:
    lines: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in lines:
            raise UserError(
                f"{what} {name!r} is used already in line {lines[name]}", where=f"{where}:{number}"
            )
        lines[name] = number


def _first_mistake(error: ValidationError) -> str:
    details = error.errors(include_url=False)[0]
    key = ".".join(map(str, details["loc"]))
    return f"{key}: {details['msg']}" if key else details["msg"]
