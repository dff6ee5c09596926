"""Files that `sluice gate` leaves for CI: JUnit, a Markdown summary, pages.

They are refused before the gate starts when they cannot be written, because a verdict that nobody
sees may have cost an hour. They are written whatever the verdict is.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import UserError
from registry.files import disk_error, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from validation.junit import Judged

_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True)
class GateFiles:
    """Where to write; None: not at all."""

    junit: Path | None = None
    markdown: Path | None = None
    pages: Path | None = None
    """A folder, made when it is missing, that gets VARIANT.html for each variant."""

    def refuse_unwritable(self) -> None:
        """Raise UserError for a file that could not be written, before anything else is done."""
        named = {"--junit": self.junit, "--markdown": self.markdown}
        files = {option: path.absolute() for option, path in named.items() if path is not None}
        if len(set(files.values())) < len(files):
            raise UserError("--junit and --markdown name the same file", where=str(self.junit))
        for option, path in files.items():
            _refuse_file(option, path)
        if self.pages is not None:
            _refuse_folder(self.pages.absolute())

    def write(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Write what was asked for. Raises PermanentEngineError when the disk refuses now."""
        if (self.junit, self.markdown, self.pages) == (None, None, None):
            return
        from validation.junit import junit_document
        from validation.report import markdown_summary

        judged = [judged_of(result) for result in results]
        if self.junit is not None:
            write_atomic(self.junit, junit_document(judged).encode())
        if self.markdown is not None:
            texts = [
                markdown_summary(one.report, model=one.model, variant=one.variant) for one in judged
            ]
            _write_summary(self.markdown, "\n".join(texts))
        if self.pages is not None:
            for one, result in zip(judged, results, strict=True):
                write_atomic(self.pages / f"{one.variant}.html", _page(one, result))


def judged_of(result: Mapping[str, Any]) -> Judged:
    """What a gate's result says, as the report's own types."""
    from validation.evidence import GateReport
    from validation.junit import Judged

    report = GateReport.from_dict(result["report"])
    return Judged(result["model"], result["variant"], report)


def _page(judged: Judged, result: Mapping[str, Any]) -> bytes:
    """The page that the gate kept, which has the sound; else one from the report alone."""
    kept = Path(result["evidence"]) / "report.html" if result.get("evidence") else None
    if kept is not None and kept.is_file():
        return kept.read_bytes()
    from validation.report_page import render

    return render(judged.report, model=judged.model, variant=judged.variant).encode()


def _write_summary(path: Path, text: str) -> None:
    """Replace the file; GitHub's own summary of a step is added to, as GitHub asks."""
    step = os.environ.get(_STEP_SUMMARY)
    if not step or path.absolute() != Path(step).absolute():
        write_atomic(path, text.encode())
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise disk_error(path, error) from error


def _refuse_file(option: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=f"{option} {path}") from error
    if not stat.S_ISREG(mode):
        raise UserError("is no plain file", where=f"{option} {path}")
    _refuse_folder(path.parent, f"{option} {path}: its folder", make=False)


def _refuse_folder(folder: Path, place: str = "--pages", *, make: bool = True) -> None:
    if make and not folder.exists():
        folder = folder.parent
    where = f"{place} {folder}"
    if not folder.is_dir():
        raise UserError("is no folder", where=where, remedy="make it, or name another")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot be written to: {error.strerror}", where=where) from error
