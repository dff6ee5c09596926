"""MLflow: a run and a model version for each artifact, aliases, and the reports of gates.

MLflow checks no bytes, keeps no history of aliases and no actor; the store, the journal and the
digest tag do. Everything that is downloaded is hashed before it is used.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.prefetch import prefetched
from registry.quiet import silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.tracking import MlflowClient

    from registry.manifest import Manifest
    from registry.workspace import Workspace

ARTIFACT_PATH = "artifact"


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

        Raises EngineError. Doing it again after a crash finds or finishes what was begun.
        """
        with self._explained():
            self._require_model(model)
            found = self._find(model, manifest.digest)
            if found is not None:
                return found
            run = self._client.create_run(
                self._experiment(model), run_name=f"{model}-{manifest.digest[:12]}"
            )
            run_id = run.info.run_id
            self._client.log_artifacts(run_id, str(folder), ARTIFACT_PATH)
            self._client.log_dict(run_id, manifest.to_dict(), "manifest.json")
            for name, value in {**tags, "digest": manifest.digest}.items():
                self._client.set_tag(run_id, f"sluice.{name}", value)
            self._client.set_terminated(run_id)
            version = self._client.create_model_version(
                model,
                source=f"{run.info.artifact_uri}/{ARTIFACT_PATH}",
                run_id=run_id,
                tags={
                    f"sluice.{name}": value
                    for name, value in {**tags, "digest": manifest.digest}.items()
                },
            )
            return RegisteredVersion(str(version.version), run_id, created=True)

    def download(self, model: str, version: str, manifest: Manifest, target: Path) -> None:
        """Copy a version's files to `target`, which must not exist, and hash them.

        Raises IntegrityError when they are not the manifest's; then `target` does not exist.
        """
        with self._explained():
            run_id = str(self._client.get_model_version(model, version).run_id)
            fetched = target.with_name(f".{target.name}.fetched")
            shutil.rmtree(fetched, ignore_errors=True)
            fetched.mkdir(parents=True)
            self._client.download_artifacts(run_id, ARTIFACT_PATH, str(fetched))
        try:
            manifest.verify_folder(fetched / ARTIFACT_PATH)
            (fetched / ARTIFACT_PATH).rename(target)
        finally:
            shutil.rmtree(fetched, ignore_errors=True)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`."""
        with self._explained():
            self._client.set_registered_model_alias(model, alias, version)

    def aliases(self, model: str) -> dict[str, str]:
        """Alias -> version."""
        with self._explained():
            return {
                alias: str(version)
                for alias, version in self._client.get_registered_model(model).aliases.items()
            }

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._explained():
            for name, value in tags.items():
                self._client.set_model_version_tag(model, version, f"sluice.{name}", value)

    def log_report(self, run_id: str, report: Path | Mapping[str, Any], name: str) -> None:
        """Keep a file, or a value as JSON, with a run under `name`."""
        with self._explained():
            if isinstance(report, Path):
                self._client.log_text(run_id, report.read_text(), name)
            else:
                self._client.log_text(run_id, json.dumps(report, indent=2, sort_keys=True), name)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Record numbers of a run."""
        with self._explained():
            for name, value in metrics.items():
                self._client.log_metric(run_id, name, value)

    @cached_property
    def _client(self) -> MlflowClient:
        silence()
        prefetched()
        # Its schema set-up logs dozens of lines that no user asked for.
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # The command shows its own progress.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow.tracking import MlflowClient

        if self._uri.startswith("sqlite:///"):
            self._artifact_root.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self._uri.startswith("sqlite:///"):
            location = (self._artifact_root / model).as_uri()
        return str(self._client.create_experiment(model, artifact_location=location))

    def _require_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(model)
        except MlflowException:
            self._client.create_registered_model(model)

    def _find(self, model: str, digest: str) -> RegisteredVersion | None:
        query = f"name = '{model}' and tag.`sluice.digest` = '{digest}'"
        found = self._client.search_model_versions(query, max_results=1)
        if not found:
            return None
        return RegisteredVersion(str(found[0].version), str(found[0].run_id), created=False)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """MLflow's exceptions as ours, one line each."""
        prefetched()
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            line = str(error).splitlines()[0]
            kind = error.error_code
            if kind in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise UserError(line, where=f"MLflow at {self._uri}") from error
            if kind in {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}:
                raise RetryableEngineError(line, where=f"MLflow at {self._uri}") from error
            raise PermanentEngineError(line, where=f"MLflow at {self._uri}") from error
        except OSError as error:
            raise PermanentEngineError(
                f"cannot write: {error.strerror or error}", where=f"MLflow at {self._uri}"
            ) from error
