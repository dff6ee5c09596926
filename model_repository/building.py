"""Writes the files of one release: the program as it is now, the variant, and what they are.

The program is copied into every release, so a release keeps its own when the code moves on.
The same inputs give the same bytes: no time, path or host is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.config import Batching, render_config
from model_repository.layout import ENTRY, GOLDEN, NO_BYTECODE, RELEASE, SERVING, VARIANT
from pipelines.conversion.kinds import kind_of
from registry.errors import IntegrityError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_repository.golden import GoldenSet

_PROGRAMS = Path(__file__).resolve().parent / "programs"
_SHARED = ("prediction_log.py",)


def build_release(
    folder: Path,
    model: str,
    release: int,
    *,
    kind: str,
    variant_folder: Path,
    golden: GoldenSet | None,
    provenance: Mapping[str, str],
) -> None:
    """Fill the empty `folder` with a version folder's files.

    Raises IntegrityError when `variant_folder` does not describe a variant.
    """
    for name, path in _program_files(kind).items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    for package in (folder, folder / SERVING):
        (package / NO_BYTECODE).touch()
    shutil.copytree(variant_folder, folder / VARIANT, copy_function=shutil.copyfile)
    description = {
        "model": model,
        "release": release,
        "kind": kind,
        "recipe": describe_variant(variant_folder)["recipe"],
        "program": program_digest(kind),
        "provenance": dict(provenance),
    }
    (folder / RELEASE).write_bytes(canonical_json(description) + b"\n")
    if golden is not None:
        (folder / GOLDEN).write_bytes(golden.to_json() + b"\n")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)


def release_config(model: str, release: int, variant_folder: Path, batching: Batching) -> str:
    """The text of the release's `config.pbtxt`, warmed up with a full window."""
    window = _read(variant_folder / "preprocessor.json")["window_samples"]
    variant = describe_variant(variant_folder)["recipe"]["variant"]
    return render_config(
        model,
        release,
        batching=batching,
        warm_up_samples=window,
        parameters={"variant": variant},
    )


def describe_variant(variant_folder: Path) -> dict[str, Any]:
    """What the conversion wrote about the variant. Raises IntegrityError when it is not there."""
    return _read(variant_folder / "variant.json")


def program_digest(kind: str) -> str:
    """SHA-256, in hex, of the program that a release of this kind would carry now."""
    digest = hashlib.sha256()
    for name, path in sorted(_program_files(kind).items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _program_files(kind: str) -> dict[str, Path]:
    """Files of a kind's program by their path in a version folder."""
    own = sorted((_PROGRAMS / kind_of(kind).program).glob("*.py"))
    files = {path.name if path.name == ENTRY else f"{SERVING}/{path.name}": path for path in own}
    return files | {f"{SERVING}/{name}": _PROGRAMS / name for name in _SHARED}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityError("is not a variant's file", where=str(path)) from error
