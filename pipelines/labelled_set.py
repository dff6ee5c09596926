"""An evaluation set made of a labelled sample: what `sluice data add` takes.

Inputs are copied under numbers, because their names came from callers. The set is read back as a
gate would read it before it is there at all.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import wave
from typing import TYPE_CHECKING, Any

from pipelines.conversion.kinds import kind_of
from pipelines.drift_sample import FORMULA
from pipelines.model_config import load_model_config
from registry.errors import UserError
from registry.files import canonical_json, staged_folder
from registry.manifest import hash_file
from validation.clips import decode_video
from validation.dataset import Dataset, hash_of
from validation.manifest_lines import HEADER_NAME, MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipelines.assembly import Platform

_INPUTS = "inputs"
_FILES: Mapping[str, str] = {
    "speech": "audio_filepath",
    "noisy-speech": "audio_filepath",
    "video": "video_filepath",
}
_KEPT = ("request", "at", "release", "language", "script", "why", "weight", "stratum")
"""Columns of the sample that the set keeps: they can be slices."""


def make_set(platform: Platform, model: str, labelled: Path, folder: Path) -> dict[str, Any]:
    """Make the set `folder` of the rows of `labelled` (a CSV or JSON Lines file) with a label.

    Raises UserError, before `folder` is there, for a folder that holds something, a sample without
    a label, an input that is not below the sample's folder, and whatever `Dataset.load` refuses.
    """
    kind = kind_of(load_model_config(platform.workspace, model).kind).dataset
    if folder.exists():
        raise UserError("is there already", where=str(folder), remedy="name a new folder")
    rows = _read(labelled)
    filled = [row for row in rows if row.get("reference_text") or row.get("clean_input")]
    if not filled:
        raise UserError(
            "no row is labelled", where=str(labelled), remedy="fill in `reference_text`"
        )
    with staged_folder(folder.parent, folder) as staged:
        (staged / _INPUTS).mkdir()
        rates = set()
        lines = []
        for number, row in enumerate(filled, 1):
            line, rate = _line(kind, row, f"{number:05}", labelled, staged)
            lines.append(json.dumps(line, ensure_ascii=False))
            rates.add(rate)
        if len(rates) > 1:
            raise UserError(f"inputs of several rates: {sorted(rates)}", where=str(labelled))
        (staged / MANIFEST_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if kind == "text":
            (staged / _INPUTS).rmdir()
        _seal(staged, f"{model}-sample", kind, rates.pop(), len(lines))
    return {
        "folder": str(folder),
        "kind": kind,
        "utterances": len(filled),
        "left_out": len(rows) - len(filled),
    }


def _seal(folder: Path, name: str, kind: str, rate: int, count: int) -> None:
    """Write the header, and read the whole set as a gate would."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    digest = hash_of({one: hash_file(folder, one).sha256 for one in names})
    header = {"name": name, "kind": kind, "sample_rate": rate, "count": count, "sha256": digest}
    (folder / HEADER_NAME).write_bytes(canonical_json(header))
    Dataset.load(folder)


def _read(labelled: Path) -> list[dict[str, str]]:
    """Rows as text by column, whichever of both formats it is."""
    try:
        content = labelled.read_text(encoding="utf-8-sig")
        if labelled.suffix == ".jsonl":
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            rows = list(csv.DictReader(io.StringIO(content, newline="")))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise UserError(f"is no labelled sample: {error}", where=str(labelled)) from error
    return [{str(key): _text(value) for key, value in row.items()} for row in rows]


def _text(value: Any) -> str:
    """A cell without the mark that keeps spreadsheets from running it."""
    text = "" if value is None else str(value).strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def _line(
    kind: str, row: Mapping[str, str], name: str, labelled: Path, staged: Path
) -> tuple[dict[str, Any], int]:
    """One line of the manifest, its files copied, and their rate."""
    line: dict[str, Any] = {
        "id": name,
        "speaker": row.get("session") or f"request {row.get('request') or name}",
        "text": row.get("reference_text", ""),
        **{column: row[column] for column in _KEPT if row.get(column)},
    }
    if kind == "text":
        return line | {"source": row.get("input") or row.get("input_text", "")}, 1
    path = _copy(row.get("input", ""), name, labelled, staged)
    line[_FILES[kind]] = path
    if kind == "noisy-speech":
        line["clean_filepath"] = _copy(
            row.get("clean_input", ""), f"{name}-clean", labelled, staged
        )
    if kind == "video":
        seconds, rate = _of_video(staged / path, row, labelled)
    else:
        seconds, rate = _of_sound(staged / path, row["input"])
    return line | {"duration": seconds}, rate


def _copy(given: str, name: str, labelled: Path, staged: Path) -> str:
    """Copy an input below the set; its path there."""
    root = labelled.parent.resolve()
    source = root / given
    plain = given and source.resolve().is_relative_to(root) and not source.is_symlink()
    if not plain or not source.is_file():
        raise UserError(
            f"row {name}: {given!r} is no file beside the sample",
            where=str(labelled),
            remedy="copy the inputs there, and write their paths into `input`",
        )
    path = f"{_INPUTS}/{name}{source.suffix.lower()}"
    shutil.copyfile(source, staged / path)
    return path


def _of_sound(path: Path, given: str) -> tuple[float, int]:
    """Seconds, and samples a second."""
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes() / file.getframerate(), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise UserError(f"is no WAV file: {error}", where=given) from error


def _of_video(path: Path, row: Mapping[str, str], labelled: Path) -> tuple[float, int]:
    """Seconds, and frames a second, by the length that was logged."""
    frames = len(decode_video(path.read_bytes(), row["input"]))
    try:
        rate = round(frames / float(row["duration_s"]))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{row['input']}: how long it lasts is not known",
            where=str(labelled),
            remedy="fill in `duration_s`, in seconds",
        ) from error
    return frames / max(1, rate), max(1, rate)
