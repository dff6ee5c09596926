"""What a release needs of a cluster is read from what was signed and measured, never assumed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra.kubernetes import revision_spec
from infra.kubernetes.revision_spec import describe
from model_repository.layout import RELEASE
from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.files import canonical_json, write_atomic
from registry.kubernetes_settings import KubernetesSection, PoolSection
from registry.signature import SigningKey

from ..infra.toys import make_workspace, publish, sign

if TYPE_CHECKING:
    from pathlib import Path

    from registry.workspace import Workspace

MODEL = "speech"
GPU = PoolSection(resources={"nvidia.com/gpu": 1})
SETTINGS = KubernetesSection(pools={"gpu": GPU})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path)
    publish(made, MODEL, 1)
    return made


def redescribe(workspace: Workspace, **changes: Any) -> None:
    """Publish release 1 with another description of itself."""
    path = workspace.repository / MODEL / "1" / RELEASE
    path.chmod(0o644)
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | changes))
    sign(workspace, MODEL, 1)


def report(workspace: Workspace, content: object) -> None:
    redescribe(workspace, provenance={"report_digest": "d" * 64})
    write_atomic(workspace.reports / ("d" * 64) / "report.json", json.dumps(content).encode())


def test_it_holds_what_the_gate_measured(workspace: Workspace) -> None:
    report(workspace, {"performance": {"peak_memory_bytes": 3 << 30}})
    spec = describe(workspace, SETTINGS, MODEL, 1)
    assert spec.memory_bytes == 3 << 30
    assert (spec.triton_models, spec.cores, spec.pool) == ((MODEL,), 1, PoolSection())
    assert json.loads(spec.record)["record"]["release"] == 1


@pytest.mark.parametrize("content", [{}, {"performance": None}, [], "no report"])
def test_what_was_not_measured_is_guessed_from_the_size(
    workspace: Workspace, content: object
) -> None:
    guess = describe(workspace, SETTINGS, MODEL, 1)
    assert guess.memory_bytes == 4 * guess.size_bytes + (512 << 20)
    report(workspace, content)
    spec = describe(workspace, SETTINGS, MODEL, 1)
    assert spec.memory_bytes == 4 * spec.size_bytes + (512 << 20)


@pytest.mark.parametrize(
    ("changes", "pool"),
    [
        ({"serve": {"device": "AUTO:GPU,CPU", "threads": 3, "instances": 2}}, GPU),
        ({"serve": {"device": "CPU"}}, PoolSection()),
        ({"recipe": {"format": "vllm"}, "serve": {}}, GPU),
    ],
)
def test_the_release_says_which_nodes_it_needs(
    workspace: Workspace, changes: dict[str, Any], pool: PoolSection
) -> None:
    redescribe(workspace, **changes)
    assert describe(workspace, SETTINGS, MODEL, 1).pool == pool


def test_threads_of_all_instances_are_its_cores(workspace: Workspace) -> None:
    redescribe(workspace, serve={"threads": 3, "instances": 2, "response_cache_mb": 8})
    spec = describe(workspace, SETTINGS, MODEL, 1)
    assert (spec.cores, spec.cache_bytes) == (6, 8 << 20)


def test_nodes_that_nobody_named_are_missed_before_anything_is_made(workspace: Workspace) -> None:
    redescribe(workspace, serve={"device": "NPU"})
    with pytest.raises(PermanentEngineError, match=r"write \[kubernetes.pools.npu\]"):
        describe(workspace, SETTINGS, MODEL, 1)


def test_a_release_that_is_not_there_or_not_ours_is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(PermanentEngineError, match="release 2 is not published"):
        describe(workspace, SETTINGS, MODEL, 2)
    strange = make_workspace(tmp_path / "strange")
    publish(strange, MODEL, 1)
    record = (strange.releases / MODEL / "1.json").read_bytes()
    write_atomic(workspace.releases / MODEL / "1.json", record)
    with pytest.raises(IntegrityError, match="signature is not this workspace's"):
        describe(workspace, SETTINGS, MODEL, 1)


def test_a_workspace_without_a_chain_of_keys_is_told(workspace: Workspace) -> None:
    (workspace.keys / "root.json").unlink()
    with pytest.raises(PermanentEngineError, match="chain of keys"):
        describe(workspace, SETTINGS, MODEL, 1)


def test_what_no_annotation_can_hold_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision_spec, "_LARGEST_NOTES", 100)
    assert SigningKey.load_or_create(workspace.keys)
    with pytest.raises(UserError, match="fewer files"):
        describe(workspace, SETTINGS, MODEL, 1)
