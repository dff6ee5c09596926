"""Finds good bytes for a damaged file among its twins: their hash decides, not where they lie.

It makes no signature: a signed record that is gone or changed cannot be healed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.scrub_places import copy_folder
from registry.errors import IntegrityError
from registry.manifest import Manifest
from registry.store import restore_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipelines.assembly import Platform
    from pipelines.scrub_findings import Finding
    from pipelines.scrub_places import Place
    from registry.catalog import Catalog


class Healer:
    """Knows where else the same bytes should lie; what they hash to decides."""

    def __init__(
        self, platform: Platform, catalogs: Mapping[str, Catalog], places: list[Place]
    ) -> None:
        self._platform = platform
        self._catalogs = catalogs
        self._twins: dict[str, list[Path]] = {}
        for place in places:
            for one in place.files:
                if one.sha256:
                    self._twins.setdefault(one.sha256, []).append(one.path)

    def heal(self, finding: Finding) -> str:
        """Put good bytes where the damaged ones were; from where, empty when there are none.

        Raises PermanentEngineError when the disk refuses.
        """
        expected = finding.expected
        if not expected.sha256:
            return ""
        if expected.digests == {expected.sha256} and expected.path.suffix == ".json":
            return self._heal_manifest(expected.sha256)
        blob = self._platform.store.blob_path(expected.sha256)
        for source in [blob, *self._twins.get(expected.sha256, ())]:
            if source == expected.path or not source.is_file():
                continue
            if expected.path.is_dir():
                expected.path.rmdir()
            if restore_file(source, expected.sha256, expected.path, mode=0o444):
                return str(source)
        return ""

    def _heal_manifest(self, digest: str) -> str:
        """MLflow keeps the manifest of each artifact beside its copy."""
        for model, catalog in self._catalogs.items():
            record = catalog.artifacts.get(digest)
            if record is None:
                continue
            path = copy_folder(self._platform.workspace, model, record.run_id) / "manifest.json"
            try:
                manifest = Manifest.from_json(path.read_bytes())
            except (OSError, IntegrityError):
                continue
            if manifest.digest == digest:
                self._platform.store.keep_manifest(manifest)
                return str(path)
        return ""
