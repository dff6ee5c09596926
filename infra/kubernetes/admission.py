"""Whether a revision in the cluster may get traffic: bytes, readiness, version, golden answers.

The same checks as on one machine, in the same order; the first failed one ends them. The bytes are
those that each ready pod's init container hashed, and what it says is held against the manifest
that the control plane finds signed. Nothing is changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from canary.ports import RevisionState
from infra.admission_checks import admission, check_golden, check_versions
from infra.kubernetes.revision_status import verified_digests
from infra.local.triton import triton_models
from model_repository.publishing import read_record
from registry.errors import EngineError, IntegrityError
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from canary.ports import Admission, RevisionStatus
    from infra.admission_checks import Check
    from infra.kubernetes.endpoints import Endpoints
    from model_repository.layout import ReleaseLayout
    from registry.workspace import Workspace


def check_admission(
    workspace: Workspace,
    endpoints: Endpoints,
    layout: ReleaseLayout,
    status: RevisionStatus,
    pods: Sequence[Mapping[str, Any]],
) -> Admission:
    """Check one revision; a check that cannot be made has failed, with the reason."""
    return admission(_checks(workspace, endpoints, layout, status, pods))


def _checks(
    workspace: Workspace,
    endpoints: Endpoints,
    layout: ReleaseLayout,
    status: RevisionStatus,
    pods: Sequence[Mapping[str, Any]],
) -> Iterator[Check]:
    ready = status.state is RevisionState.READY
    yield "ready", ready, "warmed up" if ready else f"{status.state}: {status.detail}".rstrip(": ")
    yield _check_bytes(workspace, layout, verified_digests(pods))
    model, release = layout.model, layout.release
    names = triton_models(layout.repository, model, release)
    yield check_versions(names, release, partial(endpoints.versions, model, release))
    yield check_golden(layout, partial(endpoints.answers, model, release))


def _check_bytes(workspace: Workspace, layout: ReleaseLayout, found: Sequence[str]) -> Check:
    try:
        key = VerifyingKey.load(workspace.keys)
        manifest = read_record(layout, workspace.releases, key)
    except (IntegrityError, EngineError) as error:
        return "hash", False, str(error)
    if not found:
        return "hash", False, "no ready pod says what its init container verified"
    wrong = [one for one in found if one != manifest.digest]
    if wrong:
        said = wrong[0][:12] or "nothing"
        return "hash", False, f"a pod verified {said}, signed is {manifest.digest[:12]}"
    matching = f"{len(manifest.files)} files match the signed manifest {manifest.digest[:12]}"
    return "hash", True, f"{matching} in each of {len(found)} pods"
