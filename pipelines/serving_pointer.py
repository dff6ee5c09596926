"""Signs which release serves whenever that changes: journal first, then the file.

The journal's last entry says what the file must hold, so a file that is missing is written again
with the next change, and the number is the journal's own count.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from registry.errors import IntegrityError
from registry.files import make_folder, write_atomic
from registry.pointer import Pointer, read_pointer, sign_pointer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.journal import Entry
    from registry.signature import VerifyingKey
    from registry.workspace import Workspace

SIGNED = "pointer-signed"
LIFE_S = 30 * 86_400.0
"""A machine that hears nothing new for so long trusts its pointer no more."""


def pointer_file(workspace: Workspace, model: str) -> Path:
    """Where the model's pointer lies, for other machines to copy."""
    return workspace.pointers / f"{model}.json"


def last_pointer(entries: Iterable[Entry]) -> Pointer | None:
    """The newest pointer that was journaled."""
    bodies = [entry.body for entry in entries if entry.kind == SIGNED]
    return Pointer(**bodies[-1]) if bodies else None


def point_to(platform: Platform, model: str, release: int, *, now: float | None = None) -> Pointer:
    """Have the pointer name `release`, unless it does and most of its life is left.

    Raises EngineError when the key, the journal or the disk refuses.
    """
    at = time.time() if now is None else now
    digest = platform.catalog(model).require_release(model, release).manifest_digest
    known = last_pointer(platform.journal.read(model))
    path, key = pointer_file(platform.workspace, model), platform.signing_key
    if known is not None and known.names(release, digest) and not known.is_old(at):
        content = sign_pointer(known, key)
        if _held(path) != content:
            _write(path, content)
        return known
    sequence = known.sequence + 1 if known else 1
    pointer = Pointer(model, sequence, release, digest, at, at + LIFE_S)
    content = sign_pointer(pointer, key)
    platform.append(model, SIGNED, asdict(pointer))
    _write(path, content)
    return pointer


def keep_fresh(platform: Platform, model: str, *, now: float | None = None) -> None:
    """Sign the pointer anew when half of its life is over; a model without one has none after."""
    at = time.time() if now is None else now
    known = last_pointer(platform.journal.read(model))
    if known is not None and known.is_old(at):
        point_to(platform, model, known.release, now=at)


def check_pointer(
    workspace: Workspace,
    model: str,
    entries: Iterable[Entry],
    key: VerifyingKey,
    live: int,
    *,
    now: float,
) -> Pointer:
    """The pointer's file, once it is the journal's newest and names what serves.

    Raises IntegrityError that says what it is instead.
    """
    known, path = last_pointer(entries), pointer_file(workspace, model)
    content = _held(path)
    if known is None or content is None:
        missing = "there is no serving pointer"
        raise IntegrityError(missing, where=str(path), remedy=f"`sluice resume {model}` signs one")
    pointer = read_pointer(content, key, model=model, now=now, seen=known.sequence)
    if pointer != known:
        raise IntegrityError("is not the pointer that was journaled", where=str(path))
    if pointer.release != live:
        raise IntegrityError(
            f"it names release {pointer.release}, and release {live} serves", where=str(path)
        )
    return pointer


def _held(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    write_atomic(path, content)
