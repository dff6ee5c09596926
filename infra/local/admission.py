"""Whether a revision may get traffic: its bytes, its readiness, its version, its golden answers.

The checks are made in this order and the first failed one ends them. Nothing is changed but the
memory of hashes, by which files that nobody touched since they were read are not read again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState
from infra.admission_checks import admission, check_golden, check_versions
from infra.inference import score
from infra.local import triton_api
from infra.local.triton import triton_models
from model_repository.layout import ReleaseLayout
from model_repository.publishing import verify_release
from registry.errors import EngineError, IntegrityError
from registry.hash_memory import HashMemory
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canary.ports import Admission, RevisionStatus
    from infra.admission_checks import Check
    from infra.local.triton import Endpoints
    from pipelines.conversion.kind import Interface
    from registry.workspace import Workspace
    from validation.answers import Answer

GOLDEN_TIMEOUT_S = 30.0
_IN_FLIGHT = 4


def check_admission(
    workspace: Workspace,
    model: str,
    release: int,
    status: RevisionStatus,
    endpoints: Endpoints | None,
) -> Admission:
    """Check one revision; a check that cannot be made has failed, with the reason."""
    return admission(_checks(workspace, model, release, status, endpoints))


def _checks(
    workspace: Workspace,
    model: str,
    release: int,
    status: RevisionStatus,
    endpoints: Endpoints | None,
) -> Iterator[Check]:
    yield _check_bytes(workspace, model, release)
    ready = status.state is RevisionState.READY and endpoints is not None
    yield "ready", ready, "warmed up" if ready else f"{status.state}: {status.detail}".rstrip(": ")
    if endpoints is not None:
        models = triton_models(workspace.repository, model, release)
        yield check_versions(models, release, partial(triton_api.served_versions, endpoints))
        layout = ReleaseLayout(workspace.repository, model, release)
        yield check_golden(layout, partial(_answers, endpoints, model, release))


def _check_bytes(workspace: Workspace, model: str, release: int) -> Check:
    try:
        manifest = verify_release(
            workspace.repository,
            workspace.releases,
            model,
            release,
            VerifyingKey.load(workspace.keys),
            HashMemory.of_workspace(workspace),
        )
    except (IntegrityError, EngineError) as error:
        return "hash", False, str(error)
    return (
        "hash",
        True,
        f"{len(manifest.files)} files match the signed manifest {manifest.digest[:12]}",
    )


def _answers(
    endpoints: Endpoints,
    model: str,
    release: int,
    interface: Interface,
    items: Iterable[tuple[str, Any]],
) -> list[Answer]:
    return score(
        endpoints.grpc_address,
        model,
        interface,
        items,
        in_flight=_IN_FLIGHT,
        timeout_s=GOLDEN_TIMEOUT_S,
        version=release,
    )
