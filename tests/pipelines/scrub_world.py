"""A workspace with an artifact, its variant, two releases and MLflow's copy, and no engine."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_repository.config import Batching
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import ReleaseLayout
from model_repository.publishing import PublishedRelease, publish
from pipelines.assembly import Platform
from pipelines.scrub_places import copy_folder
from pipelines.scrubbing import Scrubbed, scrub_workspace
from registry.files import canonical_json
from registry.signature import SigningKey
from registry.workspace import Workspace
from tests.rollout.file_world import FileFleet

if TYPE_CHECKING:
    from pathlib import Path

    from registry.journal import Entry

MODEL = "speech"
RUN = "f00d"
GOLDEN = GoldenSet((GoldenRequest("u1", np.zeros(10, np.float32), "bin blue", -0.1),))


@dataclass
class ScrubWorld:
    """One workspace."""

    root: Path

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.root)
        self.platform = Platform(self.workspace, actor="night-watch")
        self.platform.__dict__["fleet"] = FileFleet(self.workspace)
        self.store = self.platform.store

    @classmethod
    def made(cls, root: Path) -> ScrubWorld:
        (root / "models").mkdir(parents=True)
        (root / "sluice.toml").touch()
        (root / "models" / f"{MODEL}.toml").touch()
        world = cls(root)
        world.register()
        world.convert()
        for release in (1, 2):
            world.publish(release)
        return world

    def copied_to(self, root: Path) -> ScrubWorld:
        self.platform.journal.close()
        shutil.copytree(self.root, root)
        return ScrubWorld(root)

    def register(self) -> None:
        source = self.root / "source"
        source.mkdir()
        (source / "model.bin").write_bytes(b"parameters" * 9999)
        (source / "config.json").write_text("{}")
        manifest = self.store.add(source)
        copy = copy_folder(self.workspace, MODEL, RUN)
        shutil.copytree(source, copy / "artifact")
        (copy / "manifest.json").write_text(json.dumps(manifest.to_dict(), indent=2))
        body: dict[str, Any] = {
            "digest": manifest.digest,
            "version": "1",
            "run_id": RUN,
            "kind": "whisper",
        }
        self.platform.append(MODEL, "artifact-registered", body)

    def convert(self) -> None:
        folder = self.root / "variant"
        folder.mkdir()
        recipe = {"variant": "onnx-int8", "format": "onnx", "precision": "int8", "parameters": {}}
        described = {"recipe": recipe, "longest_question": [48000]}
        (folder / "variant.json").write_bytes(canonical_json(described))
        (folder / "decoder.onnx").write_bytes(b"decoder" * 9999)
        np.save(folder / "mel_filters.npy", np.zeros((3, 2), np.float32))
        body: dict[str, Any] = {
            "digest": self.store.add(folder).digest,
            "artifact": self.artifact,
            "variant": "onnx-int8",
            "recipe_key": "k",
            "format": "onnx",
            "precision": "int8",
            "bytes": 1,
        }
        self.platform.append(MODEL, "variant-converted", body)

    def publish(self, release: int, *, told: bool = True) -> PublishedRelease:
        gate: dict[str, Any] = {
            "variant_digest": self.variant,
            "artifact": self.artifact,
            "variant": "onnx-int8",
            "report_digest": f"{release}" * 64,
        }
        self.platform.append(MODEL, "release-reserved", gate | {"release": release})
        published = publish(
            self.workspace,
            MODEL,
            release,
            kind="whisper",
            variant_folder=self.root / "variant",
            golden=GOLDEN,
            batching=Batching(),
            provenance=gate,
            signing_key=SigningKey.load_or_create(self.workspace.keys),
        )
        written = {"release": release, "manifest_digest": published.manifest.digest}
        if told:
            self.platform.append(MODEL, "release-published", gate | written)
        return published

    @property
    def golden(self) -> GoldenSet:
        return GOLDEN

    @property
    def artifact(self) -> str:
        return next(iter(self.platform.catalog(MODEL).artifacts))

    @property
    def variant(self) -> str:
        return self.platform.catalog(MODEL).variants[-1].digest

    def layout(self, release: int) -> ReleaseLayout:
        return ReleaseLayout(self.workspace.repository, MODEL, release)

    def blob(self, digest: str, name: str) -> Path:
        return self.store.blob_path(self.store.manifest(digest).by_path[name].sha256)

    def blob_of(self, blob: Path, other: ScrubWorld) -> Path:
        """The same file as `blob` of another copy of this world."""
        return self.root / blob.relative_to(other.root)

    def scrub(self, model: str = "", **options: Any) -> Scrubbed:
        return scrub_workspace(self.platform, model, **options)

    def entries(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.platform.journal.read(MODEL) if entry.kind in kinds]

    @property
    def quarantined(self) -> dict[str, bytes]:
        """Files by where they were, below the state."""
        found = {}
        for path in self.workspace.quarantine.glob("*/files/**/*"):
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(self.workspace.quarantine).as_posix()
                found[name.split("/files/")[1]] = path.read_bytes()
        return found

    @property
    def notes(self) -> list[dict[str, Any]]:
        paths = sorted(self.workspace.quarantine.glob("*/notes/*.json"))
        return [json.loads(path.read_text()) for path in paths]


def damage(path: Path, content: bytes | None = None, at: int = 0) -> bytes:
    """Flip the byte `at`, or write `content` instead; returns what is there now."""
    before = bytearray(path.read_bytes())
    before[at : at + 1] = bytes([before[at] ^ 0xFF]) if before else b"x"
    path.chmod(0o644)
    path.write_bytes(bytes(before) if content is None else content)
    return path.read_bytes()
