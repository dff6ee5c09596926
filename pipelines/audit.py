"""Who did what, over all models, and whether the journal still is what was written.

Everything is read from the journal; nothing is kept beside it but the anchors that people take.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.narration import sentence
from registry.anchor import read_anchors, take_anchor
from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.anchor import Anchor
    from registry.journal import Entry

NOTES = "sluice"
"""The ref below `refs/notes/` that anchors are kept in."""

_GIT_TIMEOUT_S = 30.0


def record(entry: Entry) -> dict[str, Any]:
    """The entry as plain values, with a sentence that says what it is."""
    return {
        "at": datetime.fromtimestamp(entry.at, UTC).isoformat(),
        "model": entry.model,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "actor": entry.actor,
        "origin": dict(entry.origin),
        "what": told(entry),
        "body": dict(entry.body),
        "hash": entry.hash,
    }


def told(entry: Entry) -> str:
    """The entry's sentence; its kind alone where the body is not of this version."""
    try:
        return sentence(entry)
    except (KeyError, TypeError, ValueError, IndexError):
        return entry.kind


def verify_journals(
    platform: Platform, model: str = "", anchor: Path | None = None
) -> list[dict[str, Any]]:
    """Whether the chain of each model holds, and what does not (`trouble`, empty when it holds).

    The workspace's own sequence is one of them.

    With `anchor`, also whether the histories still hold what the file names; then a model that has
    no journal any more is told of too. Raises UserError for a model without entries, IntegrityError
    for an anchor that nobody of this workspace signed.
    """
    journal = platform.journal
    models = journal.sequences()
    anchors = _anchors(platform, anchor) if anchor else ()
    known = dict.fromkeys([*models, *(name for one in anchors for name in one.heads)])
    if model and model not in known:
        raise UserError("has no journal", where=model)
    rows = []
    for name in [model] if model else known:
        row: dict[str, Any] = {"model": name, "entries": 0, "ok": True, "trouble": ""}
        try:
            row["entries"] = journal.verify(name)
            for one in anchors:
                if name in one.heads:
                    replace(one, heads={name: one.heads[name]}).check(journal)
        except IntegrityError as error:
            row |= {"ok": False, "trouble": str(error)}
        rows.append(row)
    return rows


def anchor_journals(platform: Platform, file: Path | None, *, git_note: bool) -> dict[str, Any]:
    """Write the signed heads of all journals to `file`, or add them to the commit's git note.

    Raises IntegrityError for a journal that does not hold, UserError for a file that is there and
    for a workspace outside of a git repository.
    """
    if file is not None and file.exists():
        raise UserError("is there already", where=str(file), remedy="name a new file")
    commit = _commit(platform.workspace.root) if git_note else ""
    anchor = take_anchor(platform.journal, time.time())
    line = anchor.signed(platform.signing_key)
    if file is not None:
        write_atomic(file, line.encode())
    if git_note:
        note = ("notes", f"--ref={NOTES}", "append", "-F", "-", commit)
        _git(platform.workspace.root, *note, given=line)
    heads = {model: sequence for model, (sequence, _) in anchor.heads.items()}
    return {"at": anchor.at, "heads": heads, "file": str(file or ""), "commit": commit}


def _anchors(platform: Platform, path: Path) -> tuple[Anchor, ...]:
    from registry.signature import VerifyingKey

    return read_anchors(path, VerifyingKey.load(platform.workspace.keys))


def _commit(folder: Path) -> str:
    try:
        return _git(folder, "rev-parse", "--verify", "HEAD")
    except PermanentEngineError as error:
        raise UserError(
            "is in no git repository with a commit",
            where=str(folder),
            remedy="`git init` and commit, or write the anchor to a file",
        ) from error


def _git(folder: Path, *arguments: str, given: str = "") -> str:
    # A note is a commit, which needs somebody's name; people's own settings may have none.
    named = ["-c", "user.name=Sluice", "-c", "user.email=sluice@localhost"]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *named, *arguments],  # noqa: S607 - the git of this machine
            input=given,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PermanentEngineError(f"cannot be run: {error}", where="git") from error
    if done.returncode:
        raise PermanentEngineError(done.stderr.strip().partition("\n")[0], where="git")
    return done.stdout.strip()
