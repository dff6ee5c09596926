"""What `sluice data` asks: add a set to the workspace, list those it knows, verify their bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.dvc_repository import DvcRepository
from pipelines.conversion.kinds import kind_of
from pipelines.data import compare_with_lock, pinned_set
from pipelines.model_config import load_model_config
from pipelines.set_records import load_recorded
from registry.errors import SluiceError, UserError
from registry.files import write_atomic
from validation.manifest_lines import HEADER_NAME, MANIFEST_NAME, parse_header, parse_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.model_config import ModelConfig
    from registry.workspace import Workspace
    from validation.dataset import Dataset
    from validation.expectations import ContractReport

_SKIPPED = {".sluice", ".dvc", ".git", ".venv", "node_modules", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Pin:
    """One table of a model's file that names a set."""

    model: str
    table: str
    folder: Path
    sha256: str
    revision: str = ""

    @property
    def where(self) -> str:
        """As a person would look for it."""
        return f"models/{self.model}.toml [{self.table}]"


def add_set(workspace: Workspace, folder: Path, *, model: str = "") -> dict[str, Any]:
    """Hash a set, check its contract, and track it with DVC; nothing is changed if it is broken.

    The contract is that of `model`, whose `[gate]` is then made to pin the set, or the default
    one. Returns what to pin, and `broken`: the sentences of a contract that does not hold.
    Raises UserError for a set that is not whole, or outside of the workspace and of every DVC
    repository; EngineError when DVC fails.
    """
    folder = folder.resolve()
    config = load_model_config(workspace, model) if model else None
    dataset = load_recorded(workspace, folder)
    if config and dataset.kind != kind_of(config.kind).dataset:
        raise UserError(
            f"is a {dataset.kind} set; {config.kind} answers {kind_of(config.kind).dataset} sets",
            where=str(folder),
        )
    report = _contract(dataset, config)
    added: dict[str, Any] = {
        "name": dataset.name,
        "kind": dataset.kind,
        "utterances": len(dataset.utterances),
        "hours": _hours(dataset),
        "dataset": os.path.relpath(folder, workspace.root.resolve()),
        "sha256": dataset.sha256,
        "revision": "",
        "broken": [outcome.sentence for outcome in report.broken],
        "written": "",
    }
    if added["broken"]:
        return added
    added["revision"] = _track(workspace, folder)
    if model:
        added["written"] = str(_write_pin(workspace.model_file(model), added))
    return added


def list_sets(workspace: Workspace) -> list[dict[str, Any]]:
    """Every set that a model pins or that is in the workspace, by what its header says.

    No clip is read: `state` compares the header's hash with the pins.
    """
    return [_described(workspace, folder, pins) for folder, pins in _sets(workspace).items()]


def verify_sets(workspace: Workspace, name: str = "all") -> list[dict[str, Any]]:
    """Hash every byte of the sets called `name`, by name or folder, against pins and DVC's lock.

    Each row has `ok` and `findings`, one line each. Raises UserError when there is no such set.
    """
    known = _sets(workspace)
    chosen = {
        folder: pins
        for folder, pins in known.items()
        if name == "all" or name == _name(folder) or (workspace.root / name).resolve() == folder
    }
    if not chosen:
        names = ", ".join(sorted({_name(folder) for folder in known})) or "none"
        raise UserError(
            f"no set {name!r}; this workspace has {names}",
            where=str(workspace.root),
            remedy="register one with `sluice data add FOLDER`",
        )
    return [_verified(workspace, folder, pins) for folder, pins in chosen.items()]


def _contract(dataset: Dataset, config: ModelConfig | None) -> ContractReport:
    from validation.contracts import check_contract

    return check_contract(dataset, config.gate if config else None)


def _track(workspace: Workspace, folder: Path) -> str:
    """Let DVC track the folder as it is; the git revision that holds it so, or ""."""
    repository = DvcRepository.find(folder)
    if repository is None:
        root = workspace.root.resolve()
        if not folder.is_relative_to(root):
            raise UserError(
                "is outside of the workspace and of every DVC repository",
                where=str(folder),
                remedy=f"copy it below {root}",
            )
        repository = DvcRepository.create(root)
    listing = repository.listing(folder)
    is_a_stages = bool(listing) and not folder.with_name(f"{folder.name}.dvc").is_file()
    if is_a_stages:
        if difference := compare_with_lock(folder):
            raise UserError(
                f"a stage of dvc.yaml makes this set, and {difference}",
                remedy="run `dvc commit` when the change is meant",
            )
    else:
        repository.add(folder)
    head = repository.head()
    committed = repository.listing(folder, head) if head else {}
    return head if committed and committed == repository.listing(folder) else ""


def _write_pin(path: Path, added: Mapping[str, Any]) -> Path:
    """Set the keys of `[gate]`; comments and all other keys stay as they are."""
    import tomlkit

    document = tomlkit.parse(path.read_text())
    table: Any = document["gate"]
    for key in ("dataset", "sha256", "revision"):
        if added[key]:
            table[key] = added[key]
        else:
            table.pop(key, None)
    write_atomic(path, tomlkit.dumps(document).encode())
    return path


def _described(workspace: Workspace, folder: Path, pins: list[Pin]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": folder.name,
        "kind": "",
        "utterances": 0,
        "hours": 0.0,
        "sha256": "",
        "folder": os.path.relpath(folder, workspace.root.resolve()),
        "pinned_by": sorted({pin.model for pin in pins}),
        "state": "",
        "detail": "",
    }
    try:
        header = parse_header((folder / HEADER_NAME).read_bytes(), str(folder / HEADER_NAME))
        manifest = (folder / MANIFEST_NAME).read_bytes()
        rows = parse_rows(manifest, str(folder / MANIFEST_NAME), header.kind)
    except OSError as error:
        missing = "at revision" if any(pin.revision for pin in pins) else "missing"
        state = missing if isinstance(error, FileNotFoundError) else "unreadable"
        return row | {"state": state, "detail": str(error)}
    except UserError as error:
        return row | {"state": "broken", "detail": str(error)}
    pinned = [header.sha256 == pin.sha256 for pin in pins]
    return row | {
        "name": header.name,
        "kind": header.kind,
        "utterances": len(rows),
        "hours": sum(one.seconds for one in rows) / 3600,
        "sha256": header.sha256,
        "state": "not pinned" if not pins else "as pinned" if all(pinned) else "not as pinned",
    }


def _verified(workspace: Workspace, folder: Path, pins: list[Pin]) -> dict[str, Any]:
    findings, checked, sha256 = [], [], ""
    working = [pin for pin in pins if not pin.revision]
    if folder.is_dir() or working or not pins:
        try:
            sha256 = load_recorded(workspace, folder, working[0].sha256 if working else None).sha256
            checked.append("files")
        except SluiceError as error:
            findings.append(str(error))
        if difference := compare_with_lock(folder) if folder.is_dir() else "":
            findings.append(difference)
    for pin in pins:
        if sha256 and not pin.revision and pin.sha256 != sha256:
            findings.append(f"{pin.where} pins {pin.sha256[:12]}, but the set is {sha256[:12]}")
        elif pin.revision:
            findings += _at_revision(workspace, pin)
        checked.append(pin.where)
    return {
        "name": _name(folder),
        "folder": os.path.relpath(folder, workspace.root.resolve()),
        "sha256": sha256,
        "checked": checked,
        "ok": not findings,
        "findings": findings,
    }


def _at_revision(workspace: Workspace, pin: Pin) -> list[str]:
    try:
        pinned_set(workspace, pin.folder, pin.sha256, pin.revision)
    except SluiceError as error:
        return [f"{pin.where}: {error}"]
    return []


def _sets(workspace: Workspace) -> dict[Path, list[Pin]]:
    """Sets by folder: those that models pin, then those that lie in the workspace."""
    found: dict[Path, list[Pin]] = {}
    for model in workspace.model_names():
        for pin in _pins(workspace, model):
            found.setdefault(pin.folder, []).append(pin)
    for folder in _folders(workspace.root.resolve()):
        found.setdefault(folder, [])
    return dict(sorted(found.items()))


def _pins(workspace: Workspace, model: str) -> Iterator[Pin]:
    config = load_model_config(workspace, model)
    root = workspace.root
    gate, convert = config.gate, config.convert
    yield Pin(model, "gate", (root / gate.dataset).resolve(), gate.sha256, gate.revision)
    if convert.calibration:
        folder = (root / convert.calibration).resolve()
        yield Pin(model, "convert", folder, convert.calibration_sha256)


def _folders(root: Path) -> Iterator[Path]:
    """Folders with a set's header; nothing below a set is looked at."""
    for place, folders, names in os.walk(root):
        if HEADER_NAME in names and MANIFEST_NAME in names:
            folders.clear()
            yield Path(place)
        folders[:] = sorted(set(folders) - _SKIPPED)


def _name(folder: Path) -> str:
    try:
        return parse_header((folder / HEADER_NAME).read_bytes(), "").name
    except (OSError, UserError):
        return folder.name


def _hours(dataset: Dataset) -> float:
    return sum(utterance.duration_s for utterance in dataset.utterances) / 3600
