"""What a revision's objects are called in a cluster, and the labels by which they are found."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_LABEL = "sluice.dev/model"
RELEASE_LABEL = "sluice.dev/release"
MODEL_ANNOTATION = "sluice.dev/model-name"
"""The whole name: a label's value may not end as a model's name may."""
PART_OF = {"app.kubernetes.io/part-of": "sluice"}
COMPONENT_LABEL = "app.kubernetes.io/component"
REVISION = "revision"
FETCH, SERVER = "fetch-release", "triton"
"""Names of a revision's containers: the first checks the release's bytes, the other serves it."""
REFUSED = 3
"""Exit status of the first for bytes that are not the signed ones: no other try helps."""
_LONGEST = 63
"""Characters in the name of a Service and in the value of a label (RFC 1123)."""


def revision_name(model: str, release: int) -> str:
    """The name of the revision's Deployment, Service and other objects.

    It begins with a letter, as a Service's must; a long model's name is cut and told by its hash.
    """
    name = f"revision-{model}-r{release}"
    if len(name) <= _LONGEST:
        return name
    tail = f"-{_short(model)}-r{release}"
    return f"revision-{model}"[: _LONGEST - len(tail)].rstrip("-") + tail


def model_labels(model: str) -> Mapping[str, str]:
    """What every object of the model's revisions has."""
    value = model if model[-1] != "-" else f"{model[:50].rstrip('-')}-{_short(model)}"
    return {**PART_OF, COMPONENT_LABEL: REVISION, MODEL_LABEL: value}


def revision_labels(model: str, release: int) -> Mapping[str, str]:
    """What every object of one revision has."""
    return {**model_labels(model), RELEASE_LABEL: str(release)}


def _short(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:8]
