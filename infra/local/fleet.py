"""The fleet on this machine: one supervised Triton for each revision.

What a revision's state is, is asked of the supervisor and of Triton itself, never remembered.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from canary.ports import Admission, Fleet, RevisionState, RevisionStatus
from infra.local import triton, triton_api
from infra.local.log_words import last_words
from infra.local.request_tracing import request_tracing
from infra.local.revisions import RevisionRecords
from infra.local.shared_memory import region_prefix, remove_regions
from infra.local.supervision import Phase, Program, Supervisor
from infra.local.triton_api import CacheStatistics
from infra.local.triton_backends import backend_folder, require_backends
from model_repository.layout import ReleaseLayout
from registry.errors import PermanentEngineError
from registry.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.local.supervision import ProcessState
    from registry.workspace import Workspace


RESTARTS = 2
"""Failed starts in a row before a revision stays down; the first one is not counted."""
_SETTLE_S = 30
"""A revision that ended sooner than this after its start has failed to start."""
_LOCK_TIMEOUT_S = 60.0
_HELD = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)
_PROGRAM = re.compile(r"revision-(?P<model>.+)-r(?P<release>\d+)")


class LocalFleet(Fleet):
    """Revisions of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._supervisor = Supervisor(workspace.run, workspace.logs)
        self._records = RevisionRecords(workspace.run)

    def start(self, model: str, release: int) -> None:
        """Ask for the revision; a failed one is started anew.

        Raises PermanentEngineError when the release is not in the repository, and UserError when
        it needs a backend which is not here; nothing was changed then.
        """
        self._require_published(model, release)
        require_backends(backend_folder(), self._workspace.repository, model, release)
        with self._locked():
            self._supervisor.ensure()
            state = self.status(model, release).state
            if state in {RevisionState.STARTING, RevisionState.READY}:
                return
            name = program_name(model, release)
            self._supervisor.remove(name)
            endpoints = self._records.reserve(model, release)
            self._supervisor.start(
                Program(
                    name=name,
                    command=triton.command_line(
                        self._workspace.repository,
                        model,
                        release,
                        endpoints,
                        region_prefix(self._workspace.run, model, release),
                        request_tracing(self._workspace),
                    ),
                    environment=triton.environment(
                        self._workspace.predictions, triton.text_key(self._workspace.keys)
                    ),
                    restarts=RESTARTS,
                    settle_s=_SETTLE_S,
                    stop_wait_s=triton.STOP_WAIT_S,
                    secret=endpoints.secret,
                )
            )

    def status(self, model: str, release: int) -> RevisionStatus:
        """What is true now, by looking: the process first, then the server and its index."""
        process = self._supervisor.states().get(program_name(model, release))
        endpoints = self._records.find(model, release)
        if process is None or endpoints is None or process.phase is Phase.STOPPED:
            return RevisionStatus(RevisionState.ABSENT)
        if not process.up:
            return self._status_of_ended(model, release, process)
        models = triton.triton_models(self._workspace.repository, model, release)
        if triton_api.is_ready(endpoints, models, release):
            return RevisionStatus(
                RevisionState.READY,
                "",
                process.restarts,
                triton_api.devices(endpoints),
                memory_bytes(process.pid),
            )
        if reason := triton_api.load_failure(endpoints, models):
            if reason == triton_api.NOT_LOADED:
                reason = self._last_words(model, release) or reason
            return RevisionStatus(RevisionState.FAILED, reason, process.restarts)
        return RevisionStatus(RevisionState.STARTING, "loading", process.restarts)

    def cache(self, model: str, release: int) -> CacheStatistics:
        """What the response cache of the revision did since it started; zeros without one."""
        endpoints = self._records.find(model, release)
        if endpoints is None:
            return CacheStatistics()
        models = triton.triton_models(self._workspace.repository, model, release)
        found = [triton_api.cache_statistics(endpoints, one) for one in models]
        return CacheStatistics(sum(one.hits for one in found), sum(one.misses for one in found))

    def admit(self, model: str, release: int) -> Admission:
        """Check hash, readiness, version and golden answers, in this order."""
        from infra.local.admission import check_admission

        endpoints = self._records.find(model, release)
        status = self.status(model, release)
        return check_admission(self._workspace, model, release, status, endpoints)

    def stop(self, model: str, release: int) -> None:
        """Stop the revision, requests in flight answered first, and forget where it listened."""
        with self._locked():
            name = program_name(model, release)
            if name in self._supervisor.states():
                self._supervisor.remove(name)
            remove_regions(region_prefix(self._workspace.run, model, release))
            self._records.forget(model, release)

    def running(self, model: str) -> tuple[int, ...]:
        """Releases of the model that have a revision, well or not, in growing order."""
        found = (_PROGRAM.fullmatch(name) for name in self._supervisor.states())
        return tuple(
            sorted(int(match["release"]) for match in found if match and match["model"] == model)
        )

    def resume(self) -> None:
        """Start again every revision that ran when the stack went down."""
        for model, release in self._records.all():
            self.start(model, release)

    def _status_of_ended(self, model: str, release: int, process: ProcessState) -> RevisionStatus:
        words = self._last_words(model, release)
        if process.down_for_good:
            return RevisionStatus(RevisionState.FAILED, words or process.detail, process.restarts)
        return RevisionStatus(
            RevisionState.STARTING, f"ended and is started again: {words}", process.restarts
        )

    def _last_words(self, model: str, release: int) -> str:
        return last_words(self._supervisor.log(program_name(model, release)))

    def _require_published(self, model: str, release: int) -> None:
        for layout in ReleaseLayout(self._workspace.repository, model, release).whole:
            for path in (layout.folder, layout.config):
                if not path.exists():
                    raise PermanentEngineError(
                        f"release {release} of {model} is not published", where=str(path)
                    )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock, busy = self._workspace.run / "fleet.lock", "another command starts or stops revisions"
        with locked(lock, timeout_s=_LOCK_TIMEOUT_S, busy=busy):
            yield


def memory_bytes(pid: int) -> int:
    """What the process and those that it started hold in memory, added up; 0 when it has ended.

    Anonymous and shared pages. Those of files, such as weights that are mapped, are left out: they
    come with use, and the kernel takes them back when it needs room.
    """
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    held = 0
    for process in family:
        # It may end while it is looked at.
        with suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            held += sum(int(size) for size in _HELD.findall(status))
    return held * 1024


def program_name(model: str, release: int) -> str:
    """The supervisor's name of a revision."""
    return f"revision-{model}-r{release}"
