"""Toy releases in a workspace: signed, with golden answers, and known to journal and MLflow."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infra.local.ports import free_ports
from infra.local.services import Ports, is_ready, service_program
from infra.local.supervision import Supervisor
from model_repository.config import Batching, render_program
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import NO_BYTECODE, RELEASE, ReleaseLayout
from pipelines.conversion.kinds import kind_of
from registry.files import canonical_json, write_atomic
from registry.manifest import FileEntry, Manifest, hash_file
from registry.signature import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.assembly import Platform
    from registry.workspace import Workspace

KIND = "whisper"
PROGRAM = Path(__file__).with_name("program.py")
READY_S = 60.0
QUESTION = (0.0, 0.0)
"""What callers ask: the waveform, which the toy does not listen to."""


@contextmanager
def front_door(workspace: Workspace) -> Iterator[int]:
    """Envoy under the workspace's supervisor; its port. Nothing of it runs afterwards."""
    ports = Ports(*free_ports(3))
    supervisor = Supervisor(workspace.run, workspace.logs)
    supervisor.ensure()
    try:
        supervisor.start(service_program(workspace, "envoy", ports))
        deadline = time.monotonic() + READY_S
        while not is_ready(workspace, "envoy", ports):
            if time.monotonic() > deadline:
                raise TimeoutError(supervisor.log("envoy").read_text())
            time.sleep(0.02)
        yield ports.front_door
    finally:
        supervisor.shutdown()


def publish(workspace: Workspace, model: str, release: int, *, extra_ms: float = 0.0) -> None:
    """Put a toy release into the repository, signed, with a golden request."""
    layout = ReleaseLayout(workspace.repository, model, release)
    layout.folder.mkdir(parents=True)
    shutil.copy(PROGRAM, layout.folder / "model.py")
    (layout.folder / "behaviour.json").write_text(json.dumps({"extra_ms": extra_ms}))
    batching = Batching(max_batch_size=16, queue_delay_us=0, instances=1, threads=1)
    description = {"kind": KIND, "serve": dataclasses.asdict(batching)}
    (layout.folder / RELEASE).write_bytes(canonical_json(description))
    question = np.array(QUESTION, dtype=np.float32)
    golden = GoldenRequest("golden", question, f"release {release}", -0.25)
    layout.golden.write_bytes(GoldenSet((golden,)).to_json())
    (layout.folder / NO_BYTECODE).touch()
    layout.config.parent.mkdir(exist_ok=True)
    layout.config.write_text(
        render_program(
            model,
            release,
            interface=kind_of(KIND).interface,
            batching=batching,
            longest=[len(QUESTION)],
            parameters={},
        )
    )
    _sign(workspace, layout)


def _sign(workspace: Workspace, layout: ReleaseLayout) -> None:
    below = layout.folder.relative_to(layout.repository).as_posix()
    files = [
        FileEntry(f"{below}/{file.path}", file.size, file.sha256)
        for file in Manifest.of_folder(layout.folder).files
    ]
    config = layout.config.relative_to(layout.repository).as_posix()
    manifest = Manifest.of_entries([*files, hash_file(layout.repository, config)])
    record = {"model": layout.model, "release": layout.release, "manifest": manifest.to_dict()}
    signature = SigningKey.load_or_create(workspace.keys).sign(canonical_json(record))
    content = canonical_json({"record": record, "signature": signature})
    write_atomic(layout.record(workspace.releases), content)


def catalogue(platform: Platform, model: str, release: int) -> None:
    """Register the release's folder in MLflow and journal it, so that aliases can follow it."""
    folder = ReleaseLayout(platform.workspace.repository, model, release).folder
    manifest = Manifest.of_folder(folder)
    version = platform.tracking.register(model, folder, manifest, {"kind": KIND})
    registered: dict[str, object] = {
        "digest": manifest.digest,
        "kind": KIND,
        "version": version.version,
        "run_id": version.run_id,
    }
    platform.append(model, "artifact-registered", registered)
    published: dict[str, object] = {
        "release": release,
        "artifact": manifest.digest,
        "variant": "toy",
        "variant_digest": manifest.digest,
        "report_digest": manifest.digest,
        "manifest_digest": manifest.digest,
    }
    platform.append(model, "release-published", published)
