"""A workspace whose files are the real ones and whose engines are not there.

Publishing, admission's hashes, the records of revisions, Envoy's files, their locks and the journal
are the product's own; a revision is ready as soon as it is recorded, and what Envoy watches is
taken as soon as it is written. So several processes can share such a world.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from sqlalchemy import event

from canary.ports import (
    Admission,
    ArmCounters,
    Fleet,
    RevisionState,
    RevisionStatus,
    Telemetry,
)
from canary.rollout import RolloutPlan, Step, fold
from infra.local import envoy
from infra.local.envoy import EnvoyRouter
from infra.local.envoy_admin import Taken
from infra.local.envoy_files import EnvoyFiles, _read
from infra.local.revisions import RevisionRecords
from model_repository.config import Batching
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.publishing import publish, verify_release
from pipelines.rollout.controller import Controller
from registry.errors import IntegrityError
from registry.files import canonical_json, write_atomic
from registry.journal import Journal
from registry.lease import Leases
from registry.signature import SigningKey
from registry.workspace import Workspace

from .stage import MODEL, do_not_wait_for_the_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from canary.ports import Route
    from canary.rollout import ModelServing

GOLDEN = GoldenSet((GoldenRequest("u1", np.zeros(10, np.float32), "bin blue", -0.1),))
PLAN = RolloutPlan(
    steps=(Step(weight=50, hold_s=0.2), Step(weight=100)),
    bake_s=0.2,
    tick_s=0.1,
    load_timeout_s=5,
)
_EACH = 200
"""Answers that each release seems to give between two looks."""


class FileFleet(Fleet):
    """A revision runs where it is recorded, if its release is whole and signed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._records = RevisionRecords(workspace.run)

    def start(self, model: str, release: int) -> None:
        self._records.reserve(model, release)

    def status(self, model: str, release: int) -> RevisionStatus:
        if self._records.find(model, release) is None:
            return RevisionStatus(RevisionState.ABSENT)
        return RevisionStatus(RevisionState.READY)

    def admit(self, model: str, release: int) -> Admission:
        try:
            check_published(self._workspace, model, release)
        except IntegrityError as error:
            return Admission(admitted=False, checks=(("hash", False, str(error)),))
        return Admission(admitted=True, checks=(("hash", True, ""),))

    def stop(self, model: str, release: int) -> None:
        self._records.forget(model, release)

    def running(self, model: str) -> tuple[int, ...]:
        return tuple(sorted(release for name, release in self._records.all() if name == model))


class FileTelemetry(Telemetry):
    """Every routed release answers, and answers well."""

    def __init__(self, router: EnvoyRouter) -> None:
        self._router = router
        self._seen: dict[int, int] = {}

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        assert slow_ms > 0
        route = self._router.read(model)
        for share in route.shares if route else ():
            gained = _EACH * share.weight // 100
            self._seen[share.release] = self._seen.get(share.release, 0) + gained
        return {release: ArmCounters(requests=count) for release, count in self._seen.items()}


class WillingEnvoy:
    """In place of a running Envoy: it uses whatever lies in the files it watches."""

    def __init__(self, run: Path) -> None:
        self._files = EnvoyFiles(run)

    @classmethod
    @contextmanager
    def connected(cls, run: Path) -> Iterator[WillingEnvoy]:
        yield cls(run)

    def taken(self) -> Taken:
        return Taken(self._files.clusters_version(), self._files.routes_version())

    def rejections(self) -> int:
        return 0

    def route_tables(self) -> list[dict[str, Any]]:
        return [{"route_config": table} for table in _read(self._files._routes)]


@contextmanager
def without_envoy() -> Iterator[None]:
    with patch.object(envoy, "EnvoyAdmin", WillingEnvoy):
        yield


@dataclass
class FileWorld:
    """One workspace; time is virtual unless the real clock is handed in."""

    root: Path
    clock: Callable[[], float] | None = None
    sleep: Callable[[float], None] | None = None
    now: float = 1_000_000.0
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "sluice.toml").touch()
        self.workspace.state.mkdir(exist_ok=True)
        self.journal = Journal(self.workspace.journal_url)
        event.listen(self.journal.engine, "checkout", do_not_wait_for_the_disk)
        self.router = EnvoyRouter(self.workspace)

    def copied_to(self, root: Path) -> FileWorld:
        self.journal.close()
        shutil.copytree(self.root, root)
        return FileWorld(root, now=self.now)

    def publish(self, release: int) -> None:
        """As `sluice publish`, of a variant that no engine could run."""
        variant = self.root.parent / "variant"
        if not variant.exists():
            variant.mkdir()
            recipe = {"variant": "onnx-int8", "format": "onnx", "precision": "int8"}
            described = {"recipe": recipe | {"parameters": {}}, "longest_question": [48000]}
            (variant / "variant.json").write_bytes(canonical_json(described))
            (variant / "decoder.onnx").write_bytes(b"decoder")
            np.save(variant / "mel_filters.npy", np.zeros((3, 2), np.float32))
        published = publish(
            self.workspace,
            MODEL,
            release,
            kind="whisper",
            variant_folder=variant,
            golden=GOLDEN,
            batching=Batching(),
            provenance={"artifact": "a" * 64, "number": str(release)},
            signing_key=SigningKey.load_or_create(self.workspace.keys),
        )
        body = {"release": release, "manifest": published.manifest.digest}
        self.journal.append(MODEL, "release-told", body, actor="t", at=self.time())

    def time(self) -> float:
        return self.clock() if self.clock else self.now

    def pass_time(self, seconds: float) -> None:
        if self.sleep:
            self.sleep(seconds)
        self.now += seconds

    def controller(self, actor: str = "ci", *, ttl_s: float = 60.0) -> Controller:
        return Controller(
            self.journal,
            Leases(self.journal),
            FileFleet(self.workspace),
            self.router,
            FileTelemetry(self.router),
            clock=self.time,
            sleep=self.pass_time,
            actor=actor,
            aliases=self.set_alias,
            on_event=self.lines.append,
            ttl_s=ttl_s,
        )

    def set_alias(self, model: str, alias: str, release: int) -> None:
        write_atomic(self.workspace.state / "aliases" / model / alias, str(release).encode())

    @property
    def alias(self) -> int:
        path = self.workspace.state / "aliases" / MODEL / "production"
        return int(path.read_text()) if path.exists() else 0

    @property
    def serving(self) -> ModelServing:
        self.journal.verify(MODEL)
        return fold(self.journal.read(MODEL), model=MODEL)

    @property
    def route(self) -> Route | None:
        return self.router.read(MODEL)

    @property
    def visible(self) -> set[str]:
        """What Triton would find of the model."""
        folder = self.workspace.repository / MODEL
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        names |= {f"configs/{path.name}" for path in folder.glob("configs/*")}
        return names - {"configs"}


def check_published(workspace: Workspace, model: str, release: int) -> None:
    """Raise IntegrityError unless every byte of the release is what was signed."""
    key = SigningKey.load_or_create(workspace.keys).verifying_key
    verify_release(workspace.repository, workspace.releases, model, release, key)
