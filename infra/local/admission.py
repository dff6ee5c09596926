"""Whether a revision may get traffic: its bytes, its readiness, its version, its golden answers.

The checks are made in this order and the first failed one ends them. Nothing is changed but the
memory of hashes, by which files that nobody touched since they were read are not read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.ports import Admission, RevisionState
from infra.inference import score
from infra.local import triton_api
from infra.local.triton import triton_models
from model_repository.building import describe_release
from model_repository.golden import GoldenSet
from model_repository.layout import ReleaseLayout
from model_repository.publishing import verify_release
from pipelines.conversion.kinds import kind_of
from registry.errors import EngineError, IntegrityError
from registry.hash_memory import HashMemory
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from canary.ports import RevisionStatus
    from infra.local.triton import Endpoints
    from registry.workspace import Workspace

GOLDEN_TIMEOUT_S = 30.0
_IN_FLIGHT = 4

Check = tuple[str, bool, str]


def check_admission(
    workspace: Workspace,
    model: str,
    release: int,
    status: RevisionStatus,
    endpoints: Endpoints | None,
) -> Admission:
    """Check one revision; a check that cannot be made has failed, with the reason."""
    checks: list[Check] = []
    for check in _checks(workspace, model, release, status, endpoints):
        checks.append(check)
        if not check[1]:
            break
    return Admission(admitted=all(passed for _, passed, _ in checks), checks=tuple(checks))


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
        yield _check_versions(endpoints, models, release)
        yield _check_golden(workspace, endpoints, model, release)


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


def _check_versions(endpoints: Endpoints, models: Sequence[str], release: int) -> Check:
    for model in models:
        served = triton_api.served_versions(endpoints, model)
        if served != (str(release),):
            of_part = f" of {model}" if len(models) > 1 else ""
            found = ", ".join(served) or "nothing"
            return "version", False, f"serves {found} instead of {release}{of_part}"
    parts = "" if len(models) == 1 else f" of each of {', '.join(models)}"
    return "version", True, f"serves version {release} only{parts}"


def _check_golden(workspace: Workspace, endpoints: Endpoints, model: str, release: int) -> Check:
    try:
        layout = ReleaseLayout(workspace.repository, model, release)
        golden = GoldenSet.load(layout.golden)
        answers = score(
            endpoints.grpc_address,
            model,
            kind_of(describe_release(layout.folder)["kind"]).interface,
            ((one.id, one.question) for one in golden.requests),
            in_flight=_IN_FLIGHT,
            timeout_s=GOLDEN_TIMEOUT_S,
            version=release,
        )
    except (IntegrityError, EngineError) as error:
        return "golden answers", False, str(error)
    reasons = golden.differences(answers)
    if reasons:
        return "golden answers", False, f"{len(reasons)} of {len(answers)} differ: {reasons[0]}"
    return "golden answers", True, f"{len(answers)} are the gate's own"
