"""`dataset.json` and `manifest.jsonl` as text: every bad line is named by its number.

Reads no audio; `dataset` joins these lines with the files they name.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_NAME = "dataset.json"
MANIFEST_NAME = "manifest.jsonl"

Text = Annotated[str, Field(min_length=1)]


class Header(BaseModel):
    """`dataset.json`: what the set is, and the hash of everything else in its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    kind: Literal["speech"]
    sample_rate: int = Field(gt=0, le=384_000)
    """Hertz."""
    count: int = Field(gt=0)
    """Utterances."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Row(BaseModel):
    """One line of `manifest.jsonl`. Further columns are text and become slices."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    __pydantic_extra__: dict[str, str]

    id: Text
    audio_filepath: Text
    duration: float = Field(gt=0, allow_inf_nan=False)
    """Seconds."""
    text: str
    speaker: Text

    @property
    def columns(self) -> dict[str, str]:
        """Everything that describes the utterance, by column name."""
        return {"speaker": self.speaker, **(self.model_extra or {})}


def parse_header(content: bytes, where: str) -> Header:
    """Read `dataset.json`. Raises UserError that names the key."""
    try:
        return Header.model_validate_json(content)
    except ValidationError as error:
        raise UserError(_first_mistake(error), where=where) from error


def parse_rows(content: bytes, where: str) -> tuple[Row, ...]:
    """Read `manifest.jsonl`. Raises UserError with the number of the first bad line."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise UserError("the set holds no utterance", where=where)
    rows = tuple(_parse_row(line, f"{where}:{number}") for number, line in enumerate(lines, 1))
    _refuse_repeats([row.id for row in rows], "id", where)
    _refuse_repeats([row.audio_filepath for row in rows], "audio file", where)
    return rows


def _parse_row(line: bytes, where: str) -> Row:
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        raise UserError(_first_mistake(error), where=where) from error
    if not row.text.strip():
        raise UserError(f"utterance {row.id!r} has an empty reference", where=where)
    path = PurePosixPath(row.audio_filepath)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in row.audio_filepath
    if unsafe or path.as_posix() != row.audio_filepath:
        raise UserError(
            f"audio_filepath {row.audio_filepath!r} is not a plain path inside the set's folder",
            where=where,
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
