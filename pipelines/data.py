"""Evaluation sets of a workspace: which one a gate means, and whether its bytes are still those.

A set is pinned by a DVC revision, which says where it comes from, and by its hash, which says what
it is. Every byte is hashed whenever a set is read: DVC serves a changed cache without a word.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra.dvc_repository import DvcRepository
from pipelines.conversion.kinds import kind_of
from pipelines.set_records import load_recorded
from registry.errors import IntegrityError, RetryableEngineError, SluiceError, UserError
from registry.files import make_folder, staged_folder
from registry.manifest import hash_file, is_digest, list_files
from validation.dataset import Dataset
from validation.manifest_lines import HEADER_NAME, MANIFEST_NAME, TextRow, parse_header, parse_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.assembly import Platform
    from pipelines.model_config import ModelConfig
    from registry.catalog import VariantRecord
    from registry.workspace import Workspace

FETCH_TIMEOUT_S = 1800.0
"""How long a command waits for another one that fetches the same set."""


def gate_dataset(platform: Platform, config: ModelConfig) -> Dataset:
    """The set that `[gate]` pins, every byte of it hashed.

    With a revision it is what DVC has of the folder there, kept in the workspace by its hash;
    without one, the folder as it is. Raises UserError for a set that is not the pinned one, not
    of the kind that the model answers, or not at that revision; IntegrityError where DVC gives
    other bytes than it recorded.
    """
    pin = config.gate
    folder = platform.workspace.root / pin.dataset
    dataset = pinned_set(platform.workspace, folder, pin.sha256, pin.revision)
    return _of_its_kind(config, dataset, folder)


def load_dataset(config: ModelConfig, folder: Path, sha256: str | None = None) -> Dataset:
    """Read a set that models of this kind answer. Raises UserError for another, or as it does."""
    return _of_its_kind(config, Dataset.load(folder, sha256), folder)


def _of_its_kind(config: ModelConfig, dataset: Dataset, folder: Path) -> Dataset:
    wanted = kind_of(config.kind).dataset
    if dataset.kind != wanted:
        raise UserError(
            f"is a {dataset.kind} set; {config.kind} answers {wanted} sets", where=str(folder)
        )
    return dataset


def declared_contents(
    platform: Platform, config: ModelConfig, variant: VariantRecord
) -> dict[str, frozenset[str]]:
    """SHA-256s of what the variant was made from, by role, for `check_contract`.

    "training" is what `[gate.contract] training` names, "calibration" what the conversion wrote
    into variant.json.
    """
    content = platform.store.read(variant.digest, "variant.json")
    calibration = json.loads(content).get("calibration") or {"items": ()}
    root = platform.workspace.root
    training: set[str] = set()
    for path in config.gate.contract.training:
        training |= contents_of(root / path)
    return {"training": frozenset(training), "calibration": frozenset(calibration["items"])}


def pinned_set(workspace: Workspace, folder: Path, sha256: str, revision: str = "") -> Dataset:
    """The set of this hash: the folder as it is, or what DVC has of it at `revision`.

    Raises as `gate_dataset` does.
    """
    folder = Path(os.path.normpath(folder))
    if not revision:
        return load_recorded(workspace, folder, sha256)
    kept = workspace.state / "datasets" / sha256
    with _alone(kept):
        if kept.is_dir():
            try:
                return load_recorded(workspace, kept, sha256)
            except SluiceError:
                # A copy of ours that is not whole any more is made again from its source.
                shutil.rmtree(kept, ignore_errors=True)
        _fetch(workspace, folder, sha256, revision, kept)
    return load_recorded(workspace, kept, sha256)


def _fetch(workspace: Workspace, folder: Path, sha256: str, revision: str, kept: Path) -> None:
    """Make the folder `kept` of what DVC has, once its bytes are those of the lock and the pin."""
    repository = DvcRepository.find(folder)
    if repository is None:
        raise UserError(
            f"revision {revision} is pinned, but the set is in no DVC repository",
            where=str(folder),
            remedy='track it with `sluice data add`, or pin it by hash alone: revision = ""',
        )
    with staged_folder(workspace.staging, kept) as staged:
        fetched = staged / "set"
        repository.fetch(folder, revision, fetched)
        _compare_with_dvc(fetched, repository.listing(folder, revision), f"{folder} at {revision}")
        load_recorded(workspace, fetched, sha256)
        for path in list(fetched.iterdir()):
            path.rename(staged / path.name)
        fetched.rmdir()


@contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """Let one process at a time fetch this set. Raises RetryableEngineError after a time-out."""
    from filelock import FileLock, Timeout

    make_folder(kept.parent)
    try:
        with FileLock(kept.with_name(f"{kept.name}.lock"), timeout=FETCH_TIMEOUT_S):
            yield
    except Timeout as error:
        raise RetryableEngineError(
            f"another command is fetching the set for more than {FETCH_TIMEOUT_S:.0f} s",
            where=str(kept),
        ) from error


def contents_of(path: Path) -> frozenset[str]:
    """SHA-256s of the utterances in a set's folder, or those that a `sha256sum` file lists.

    Raises UserError for a folder that is no set and a line that holds no SHA-256.
    """
    if path.is_dir():
        return _contents_of_set(path)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "is neither the folder of a set nor a list made by `sha256sum`", where=str(path)
        ) from error
    found = set()
    for number, line in enumerate(lines, 1):
        digest = line.lstrip("\\").split(" ", 1)[0].lower()
        if not is_digest(digest):
            raise UserError("the line does not begin with a SHA-256", where=f"{path}:{number}")
        found.add(digest)
    if not found:
        raise UserError("lists no SHA-256", where=str(path))
    return frozenset(found)


def _contents_of_set(folder: Path) -> frozenset[str]:
    try:
        header = parse_header((folder / HEADER_NAME).read_bytes(), str(folder / HEADER_NAME))
        manifest = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise UserError(
            f"is not the folder of a set: {error.strerror}",
            where=str(error.filename or folder),
            remedy="name a set, or a list made by `sha256sum`",
        ) from error
    rows = parse_rows(manifest, str(folder / MANIFEST_NAME), header.kind)
    texts = {
        hashlib.sha256(row.source.encode()).hexdigest() for row in rows if isinstance(row, TextRow)
    }
    names = [name for row in rows for name in row.paths]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        files = {entry.sha256 for entry in pool.map(lambda name: hash_file(folder, name), names)}
    return frozenset(texts | files)


def compare_with_lock(folder: Path) -> str:
    """Why the folder is not what DVC's lock says; "" when it is, or DVC does not track it."""
    repository = DvcRepository.find(folder)
    if repository is None:
        return ""
    try:
        listing = repository.listing(folder)
        if listing:
            _compare_with_dvc(folder, listing, str(folder))
    except SluiceError as error:
        return str(error)
    return ""


def _compare_with_dvc(folder: Path, listing: Mapping[str, str], where: str) -> None:
    """Raise IntegrityError that names the first file whose MD5 is not the one DVC recorded."""
    found = _md5_of(folder, list_files(folder))
    for path in sorted(listing.keys() | found.keys() if listing else ()):
        if listing.get(path) == found.get(path):
            continue
        if path not in found:
            what = f"{path} is missing"
        elif path not in listing:
            what = f"{path} is not in DVC's lock"
        else:
            what = f"{path} does not hash to what DVC's lock says"
        raise IntegrityError(what, where=where, remedy="bring the pinned bytes with `dvc pull`")


def _md5_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    def digest(name: str) -> tuple[str, str]:
        with (folder / name).open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        return name, md5.hexdigest()

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return dict(pool.map(digest, names))
