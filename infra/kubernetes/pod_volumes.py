"""The volumes of a revision's pod: what it may read, and where it may write.

Pure: values in, plain objects out. Of a claim only one folder is shown, because keys may lie
beside it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from infra.kubernetes.revision_spec import MEBIBYTE

if TYPE_CHECKING:
    from infra.kubernetes.revision_spec import RevisionSpec
    from registry.kubernetes_settings import KubernetesSection

Json = dict[str, Any]

REPOSITORY, SOURCE, TRUST, SCRATCH = "/repository", "/source", "/trust", "/tmp"  # noqa: S108 - in the pod
PREDICTIONS, KEYS = "/predictions", "/keys"
SHARED_MEMORY = 256 * MEBIBYTE
_SCRATCH_SIZE = 256 * MEBIBYTE
_LEFT_OVER = 64 * MEBIBYTE
_CLAIM_FOLDERS = {REPOSITORY: ".sluice/repository", PREDICTIONS: ".sluice/predictions"}
"""Where a workspace that lies on a claim keeps them."""
RECORD_ANNOTATION, ROOT_ANNOTATION = "sluice.dev/signed-record", "sluice.dev/root"
"""Of the pod: the release's signed record, and the chain of keys that may have signed it."""


def volumes(spec: RevisionSpec, settings: KubernetesSection) -> list[Json]:
    """Scratch of the pod's own, what it checks by, and the claims that the settings name."""
    made: list[Json] = [
        _scratch("repository", spec.size_bytes + _LEFT_OVER),
        _scratch("scratch", _SCRATCH_SIZE),
        _scratch("shared-memory", SHARED_MEMORY, medium="Memory"),
        {
            "name": "trust",
            "downwardAPI": {
                "items": [
                    {
                        "path": path,
                        "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"},
                    }
                    for path, annotation in (
                        ("record.json", RECORD_ANNOTATION),
                        ("root.json", ROOT_ANNOTATION),
                    )
                ]
            },
        },
    ]
    if settings.repository.startswith("pvc:"):
        made.append(_claim("source", settings.repository, read_only=True))
    if settings.predictions:
        items = [{"key": "text.key", "path": "text.key"}]
        secret = {"secretName": settings.secret, "items": items, "defaultMode": 0o444}
        made += [
            _claim("predictions", settings.predictions),
            {"name": "keys", "secret": secret},
        ]
    return made


def _scratch(name: str, size: int, *, medium: str = "") -> Json:
    """Empty when the pod begins, gone with it; on a disk unless the `medium` is another."""
    return {"name": name, "emptyDir": {"medium": medium, "sizeLimit": mebibytes(size)}}


def _claim(name: str, place: str, *, read_only: bool = False) -> Json:
    claim: Json = {"claimName": place.removeprefix("pvc:").partition("/")[0]}
    return {
        "name": name,
        "persistentVolumeClaim": claim | ({"readOnly": True} if read_only else {}),
    }


def claimed(name: str, path: str, place: str, kind: str, *, read_only: bool = False) -> Json:
    """A mount of the claim's folder, and of nothing beside it: keys may lie there."""
    folder = place.partition("/")[2] or _CLAIM_FOLDERS[kind]
    return mount(name, path, read_only=read_only) | {"subPath": folder}


def mount(name: str, path: str, *, read_only: bool = False) -> Json:
    """The volume `name`, shown at `path`."""
    return {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})


def mebibytes(size: int) -> str:
    """`size` bytes as Kubernetes writes them, rounded up."""
    return f"{math.ceil(size / MEBIBYTE)}Mi"
