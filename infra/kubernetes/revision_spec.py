"""What is known of a release before its revision is made: what to load, what it needs, where from.

Read from the control plane's own copy of the release and from the gate's report; nothing is asked
of the cluster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.local.triton import response_cache_bytes, triton_models
from model_repository.building import describe_release
from model_repository.layout import ReleaseLayout
from model_repository.publishing import read_record
from registry.errors import PermanentEngineError, UserError
from registry.kubernetes_settings import PoolSection
from registry.signature import VerifyingKey, load_chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.kubernetes_settings import KubernetesSection
    from registry.manifest import Manifest
    from registry.workspace import Workspace

MEBIBYTE = 1 << 20
_LOADED = 4
"""An unmeasured release is taken to hold so many times its size in memory, and `_SERVER` more."""
_SERVER = 512 * MEBIBYTE
_LARGEST_NOTES = 200 * 1024
"""Bytes of annotations that are ours; the API server takes 256 KiB in all."""


@dataclass(frozen=True)
class RevisionSpec:
    """One release, as a revision of the cluster needs it. Sizes are in bytes."""

    model: str
    release: int
    triton_models: tuple[str, ...]
    """Triton's names of all that it loads, the one that clients ask last."""
    manifest_digest: str
    record: str
    """The signed record, as its file holds it."""
    root: str
    """The chain of keys that may have signed it."""
    size_bytes: int
    memory_bytes: int
    """What the gate measured, or a guess from the size."""
    cores: int
    pool: PoolSection
    cache_bytes: int = 0


def describe(
    workspace: Workspace, settings: KubernetesSection, model: str, release: int
) -> RevisionSpec:
    """What a published release needs.

    Raises PermanentEngineError when it is not published whole, when it needs a pool that the
    settings do not name, and when the keys have no chain; IntegrityError when its record is not
    signed by the workspace's key; UserError when the record is too large for a pod to carry.
    """
    layout = ReleaseLayout(workspace.repository, model, release)
    record = layout.record(workspace.releases)
    if not (record.is_file() and layout.config.is_file()):
        raise PermanentEngineError(
            f"release {release} is not published",
            where=model,
            remedy="`sluice status` names the releases that are",
        )
    key = VerifyingKey.load(workspace.keys)
    manifest = read_record(layout, workspace.releases, key)
    description = describe_release(layout.folder)
    spec = RevisionSpec(
        model=model,
        release=release,
        triton_models=triton_models(workspace.repository, model, release),
        manifest_digest=manifest.digest,
        record=record.read_text(),
        root=load_chain(workspace.keys).to_json().decode(),
        size_bytes=manifest.size,
        memory_bytes=_memory(workspace, description, manifest),
        cores=_cores(description),
        pool=_pool(settings, description, f"{model} release {release}"),
        cache_bytes=response_cache_bytes(workspace.repository, model, release),
    )
    if len(spec.record) + len(spec.root) > _LARGEST_NOTES:
        raise UserError(
            f"its record and the chain of keys have more than {_LARGEST_NOTES >> 10} KiB",
            where=f"{model} release {release}",
            remedy="publish it with fewer files",
        )
    return spec


def _memory(workspace: Workspace, description: Mapping[str, Any], manifest: Manifest) -> int:
    """The peak that the gate measured of the release's processes; a guess where it has none."""
    digest = str(description.get("provenance", {}).get("report_digest", ""))
    guess = _LOADED * manifest.size + _SERVER
    try:
        report = json.loads((workspace.reports / digest / "report.json").read_bytes())
        return int(report["performance"]["peak_memory_bytes"]) or guess
    except (OSError, ValueError, KeyError, TypeError):
        return guess


def _cores(description: Mapping[str, Any]) -> int:
    serve = description.get("serve", {})
    return max(1, int(serve.get("threads", 1))) * max(1, int(serve.get("instances", 1)))


def device_of(description: Mapping[str, Any]) -> str:
    """`gpu`, `npu` or `cpu`: the best that the release can use.

    vLLM serves on a GPU; any other release names OpenVINO's device, or several in their order.
    """
    if description.get("recipe", {}).get("format") == "vllm":
        return "gpu"
    named = str(description.get("serve", {}).get("device", "CPU")).upper()
    return next((one.lower() for one in ("GPU", "NPU") if one in named), "cpu")


def _pool(settings: KubernetesSection, description: Mapping[str, Any], where: str) -> PoolSection:
    device = device_of(description)
    if device in settings.pools:
        return settings.pools[device]
    if device == "cpu":
        return PoolSection()
    raise PermanentEngineError(
        f"it runs on a {device.upper()}, and no pool has one",
        where=where,
        remedy=f"write [kubernetes.pools.{device}]",
    )
