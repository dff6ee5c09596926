"""MLflow: a run and a model version for each artifact, aliases, and the reports of gates.

MLflow checks no bytes, keeps no history of aliases and no actor; the store, the journal and the
digest tag do. Everything that is downloaded is hashed before it is used.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import UserError
from registry.files import disk_error, fsync_folder, fsync_tree, make_folder
from registry.mlflow_client import explained, locked, open_client, sqlite_file
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from registry.manifest import Manifest
    from registry.workspace import Workspace

ARTIFACT_PATH = "artifact"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a model; `created` is False when the digest had one already."""

    version: str
    run_id: str
    created: bool


class Tracking:
    """One MLflow, embedded (sqlite and files) or a server."""

    def __init__(self, uri: str, artifact_root: Path) -> None:
        self._uri = uri
        self._artifact_root = artifact_root

    @classmethod
    def of_workspace(cls, workspace: Workspace) -> Tracking:
        """The MLflow that the workspace's settings name."""
        return cls(workspace.tracking_uri, workspace.mlflow / "artifacts")

    def register(
        self, model: str, folder: Path, manifest: Manifest, tags: Mapping[str, str]
    ) -> RegisteredVersion:
        """A run with the folder's files and a version with the digest tag; found, or made.

        Raises EngineError. Doing it again after a crash finds or finishes what was begun; with
        sqlite, processes that do it at once make one version.
        """
        check_name(model)
        with self._registering():
            self._require_model(model)
            found = self._find(model, manifest.digest)
            if found is not None:
                return found
            ours = {
                f"sluice.{name}": value
                for name, value in {**tags, "digest": manifest.digest}.items()
            }
            run = self._run(model, manifest.digest, ours)
            run_id = run.info.run_id
            if not self._is_uploaded(run_id, manifest):
                self._client.log_artifacts(run_id, str(folder), ARTIFACT_PATH)
                # Last: where it stands, the files before it are whole.
                self._client.log_dict(run_id, manifest.to_dict(), MANIFEST_NAME)
            self._client.set_terminated(run_id)
            source = f"{run.info.artifact_uri}/{ARTIFACT_PATH}"
            version = self._client.create_model_version(model, source, run_id, tags=ours)
            return RegisteredVersion(str(version.version), run_id, created=True)

    def download(self, model: str, version: str, manifest: Manifest, target: Path) -> None:
        """Copy a version's files to `target`, which must not exist, and hash them.

        Raises IntegrityError when they are not the manifest's; then `target` does not exist.
        """
        if os.path.lexists(target):
            raise UserError("is there already", where=str(target))
        with explained(self._uri):
            run_id = str(self._client.get_model_version(model, version).run_id)
        try:
            make_folder(target.parent)
            with tempfile.TemporaryDirectory(prefix=".fetched.", dir=target.parent) as scratch:
                with explained(self._uri):
                    self._client.download_artifacts(run_id, ARTIFACT_PATH, scratch)
                fetched = Path(scratch) / ARTIFACT_PATH
                manifest.verify_folder(fetched)
                fsync_tree(fetched)
                fetched.rename(target)
            fsync_folder(target.parent)
        except OSError as error:
            raise disk_error(target, error) from error

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`."""
        with explained(self._uri):
            self._client.set_registered_model_alias(model, alias, version)

    def aliases(self, model: str) -> dict[str, str]:
        """Alias -> version."""
        with explained(self._uri):
            found = self._client.get_registered_model(model).aliases
            return {alias: str(version) for alias, version in found.items()}

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with explained(self._uri):
            for name, value in tags.items():
                self._client.set_model_version_tag(model, version, f"sluice.{name}", value)

    def log_record(self, run_id: str, record: Mapping[str, Any], name: str) -> None:
        """Keep a value as JSON with a run under `name`."""
        with explained(self._uri):
            self._client.log_text(run_id, json.dumps(record, indent=2, sort_keys=True), name)

    def log_files(self, run_id: str, folder: Path, name: str) -> None:
        """Keep every file of a folder with a run, below `name`."""
        with explained(self._uri):
            self._client.log_artifacts(run_id, str(folder), name)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Record numbers of a run."""
        with explained(self._uri):
            for name, value in metrics.items():
                self._client.log_metric(run_id, name, value)

    @cached_property
    def _client(self) -> MlflowClient:
        return open_client(self._uri)

    @contextmanager
    def _registering(self) -> Iterator[None]:
        with explained(self._uri):
            _ = self._client
            path = sqlite_file(self._uri)
            if path is None:
                yield
                return
            with locked(path.with_name(f"{path.name}.register.lock"), "is registering a model"):
                yield

    def _require_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(model)

    def _find(self, model: str, digest: str) -> RegisteredVersion | None:
        found = self._client.search_model_versions(
            f"name = '{model}' and tag.`sluice.digest` = '{digest}'",
            max_results=1,
            order_by=["version_number ASC"],
        )
        if not found:
            return None
        return RegisteredVersion(str(found[0].version), str(found[0].run_id), created=False)

    def _run(self, model: str, digest: str, tags: Mapping[str, str]) -> Run:
        """The run of this digest that a crash left without a version, else a new one."""
        experiment = self._experiment(model)
        begun = self._client.search_runs(
            [experiment], f"tags.`sluice.digest` = '{digest}'", max_results=1
        )
        if begun:
            return begun[0]
        return self._client.create_run(
            experiment, tags=dict(tags), run_name=f"{model}-{digest[:12]}"
        )

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if sqlite_file(self._uri) is not None:
            location = (self._artifact_root.absolute() / model).as_uri()
        return str(self._client.create_experiment(model, artifact_location=location))

    def _is_uploaded(self, run_id: str, manifest: Manifest) -> bool:
        if all(info.path != MANIFEST_NAME for info in self._client.list_artifacts(run_id)):
            return False
        found = dict(self._sizes(run_id, ARTIFACT_PATH))
        return found == {f"{ARTIFACT_PATH}/{file.path}": file.size for file in manifest.files}

    def _sizes(self, run_id: str, folder: str) -> Iterator[tuple[str, int]]:
        for info in self._client.list_artifacts(run_id, folder):
            if info.is_dir:
                yield from self._sizes(run_id, info.path)
            else:
                yield info.path, int(info.file_size or 0)
