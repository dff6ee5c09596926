"""A workspace with toy models that Triton really serves, and clients of its front door."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from benchmarks.moving_traffic.stage import front_door
from canary.ports import RevisionState, Route, Share
from infra.local.envoy import EnvoyRouter, EnvoyTelemetry
from infra.local.fleet import LocalFleet
from infra.local.orphans import find_orphans
from infra.local.supervision import Supervisor
from model_repository.config import Batching, render_program
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import NO_BYTECODE, RELEASE, ReleaseLayout
from model_repository.programs.common import records
from model_repository.publishing import _found
from pipelines.conversion.kinds import kind_of
from registry.files import canonical_json, write_atomic
from registry.signature import SigningKey
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import RevisionStatus

TOY = Path(__file__).with_name("toy_model.py")
KIND = "whisper"
INTERFACE = kind_of(KIND).interface
"""What every toy asks and answers."""
READY_S = 60.0
REFUSED, BROKEN, DIES, EMPTY = 1, 2, 3, 4
COMMON = Path(records.__file__).parent


def make_workspace(root: Path, settings: str = "") -> Workspace:
    root.mkdir(parents=True, exist_ok=True)
    (root / "sluice.toml").write_text(settings)
    return Workspace(root)


def lay_out(repository: Path, model: str, release: int, **behaviour: Any) -> Path:
    """Put a toy release into a repository; returns its folder."""
    folder = repository / model / str(release)
    folder.mkdir(parents=True)
    shutil.copy(TOY, folder / "model.py")
    if behaviour.get("recorded"):
        _put_serving(folder)
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    configs = repository / model / "configs"
    configs.mkdir(exist_ok=True)
    batching = Batching(
        max_batch_size=1,
        queue_delay_us=0,
        instances=1,
        threads=1,
        response_cache_mb=behaviour.get("cache_mb", 0),
    )
    text = render_program(
        model, release, interface=INTERFACE, batching=batching, longest=[1], parameters={}
    )
    (configs / f"r{release}.pbtxt").write_text(text)
    description = {"kind": KIND, "serve": dataclasses.asdict(batching)}
    (folder / RELEASE).write_bytes(canonical_json(description))
    return folder


def _put_serving(folder: Path) -> None:
    """What all programs share, where publishing puts it."""
    shutil.copytree(COMMON, folder / "serving" / "common", ignore=shutil.ignore_patterns("__*__"))
    for package in (folder / "serving", folder / "serving" / "common"):
        (package / "__init__.py").touch()
        (package / NO_BYTECODE).touch()


def sign(workspace: Workspace, model: str, release: int) -> None:
    """Sign a toy release as publishing does."""
    layout = ReleaseLayout(workspace.repository, model, release)
    manifest = _found(layout)
    record = {"model": model, "release": release, "manifest": manifest.to_dict()}
    signature = SigningKey.load_or_create(workspace.keys).sign(canonical_json(record))
    content = canonical_json({"record": record, "signature": signature})
    write_atomic(layout.record(workspace.releases), content)


def publish(
    workspace: Workspace, model: str, release: int, *, golden: str = "", **behaviour: Any
) -> Path:
    """A toy release with a golden request and a signature; `golden` is the answer expected."""
    folder = lay_out(workspace.repository, model, release, **behaviour)
    question = np.zeros(2, dtype=np.float32)
    expected = GoldenRequest("golden", question, golden or f"release {release}", -0.25)
    (folder / "golden.json").write_bytes(GoldenSet((expected,)).to_json())
    (folder / NO_BYTECODE).touch()
    sign(workspace, model, release)
    return folder


def await_state(
    fleet: LocalFleet, model: str, release: int, *states: RevisionState
) -> RevisionStatus:
    deadline = time.monotonic() + READY_S
    while (status := fleet.status(model, release)).state not in states:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


@dataclass(frozen=True)
class Served:
    """One answer as a client saw it."""

    status: int
    release: int
    text: str
    seconds: float


@dataclass(frozen=True)
class Door:
    """A workspace whose front door is open."""

    workspace: Workspace
    port: int

    @property
    def fleet(self) -> LocalFleet:
        return LocalFleet(self.workspace)

    @property
    def router(self) -> EnvoyRouter:
        return EnvoyRouter(self.workspace)

    @property
    def telemetry(self) -> EnvoyTelemetry:
        return EnvoyTelemetry(self.workspace)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.workspace.run, self.workspace.logs)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, model: str, *releases: int, **behaviour: Any) -> None:
        """Lay out the releases, start them and wait until they are ready."""
        for release in releases:
            lay_out(self.workspace.repository, model, release, **behaviour)
            self.fleet.start(model, release)
        for release in releases:
            await_state(self.fleet, model, release, RevisionState.READY)

    def route(self, model: str, *shares: tuple[int, int], token: int = 1) -> None:
        self.router.write(Route(model, tuple(Share(*share) for share in shares), token))

    def rest(
        self,
        client: httpx.Client,
        model: str,
        *,
        outcome: int = 0,
        sleep_ms: float = 0,
        session: str | None = None,
    ) -> Served:
        body = question(sleep_ms, outcome)
        headers = {} if session is None else {"x-session-id": session}
        started = time.perf_counter()
        response = client.post(f"{self.url}/v2/models/{model}/infer", json=body, headers=headers)
        seconds = time.perf_counter() - started
        release = int(response.headers.get("x-sluice-release", 0))
        outputs = response.json().get("outputs", [{"data": [""]}])
        return Served(response.status_code, release, outputs[0]["data"][0], seconds)

    def grpc(
        self,
        client: Any,
        model: str,
        *,
        outcome: int = 0,
        sleep_ms: float = 0,
        session: str | None = None,
    ) -> str:
        """The transcript; raises the client's own error."""
        import tritonclient.grpc as grpcclient

        tensor = grpcclient.InferInput("waveform", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.array([[sleep_ms, outcome]], dtype=np.float32))
        headers = None if session is None else {"x-session-id": session}
        result = client.infer(model, [tensor], headers=headers, client_timeout=30)
        return str(result.as_numpy("transcript").reshape(-1)[0].decode())


def question(sleep_ms: float = 0, outcome: int = 0) -> dict[str, Any]:
    """A toy's request as JSON."""
    waveform = {
        "name": "waveform",
        "datatype": "FP32",
        "shape": [1, 2],
        "data": [sleep_ms, outcome],
    }
    return {"inputs": [waveform]}


def client() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=30)


@contextlib.contextmanager
def grpc_client(door: Door) -> Iterator[Any]:
    import tritonclient.grpc as grpcclient

    with grpcclient.InferenceServerClient(f"127.0.0.1:{door.port}") as opened:
        yield opened


def in_parallel(count: int, workers: int, act: Any) -> list[Any]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(act, range(count)))


@contextlib.contextmanager
def open_door(root: Path, settings: str = "") -> Iterator[Door]:
    """A front door without Prefect; nothing of it runs afterwards."""
    workspace = make_workspace(root, settings)
    with front_door(workspace) as port:
        yield Door(workspace, port)
    assert find_orphans(workspace.run) == ()


def counts(served: list[Served]) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for one in served:
        found[one.release] = found.get(one.release, 0) + 1
    return found
