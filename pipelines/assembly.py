"""The composition root: the engines of one workspace, each made when it is first asked for.

Flows and commands get their adapters here and nowhere else, so that another set (Kubernetes,
PostgreSQL, S3) is one other platform.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from infra.observability.watching import observe_process
from registry.errors import PermanentEngineError, UserError
from registry.files import disk_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from canary.ports import Fleet, Router, Telemetry
    from canary.states import ModelServing
    from infra.environments.locks import Environment
    from pipelines.rollout.controller import Controller
    from registry.access import Action
    from registry.attestation import AttestationStore
    from registry.catalog import Catalog
    from registry.guard import AccessGuard
    from registry.identity import Identity
    from registry.journal import Entry, Journal
    from registry.lease import Leases
    from registry.signature import SigningKey
    from registry.store import ContentStore
    from registry.tracking import Tracking
    from registry.workspace import Workspace


def require_environment(environment: Environment) -> None:
    """Raise PermanentEngineError unless everything that the environment's lock names is there."""
    if not environment.is_complete():
        raise PermanentEngineError(
            f"the {environment.name} environment is not installed", remedy="run `make setup`"
        )


class Platform:
    """The embedded engines of one workspace."""

    name = ""
    """Of the region whose engines these are; empty: the workspace's own."""

    def __init__(self, workspace: Workspace, *, actor: str = "") -> None:
        self.workspace = workspace
        self._named = actor
        # For a worker's process, which no command of ours began.
        observe_process(workspace)

    @cached_property
    def identity(self) -> Identity:
        """Who this process acts for. Raises UserError for a token that does not hold."""
        from registry.identity import identify

        return identify(self.workspace)

    @cached_property
    def actor(self) -> str:
        """Whom the journal names. Raises UserError for a mere name where a token is required."""
        return self.guard.who(self._named or self.identity.actor).actor

    @cached_property
    def guard(self) -> AccessGuard:
        """Who may do what here: `access.toml`, read once."""
        from registry.guard import open_guard

        return open_guard(self.workspace, self.identity)

    @cached_property
    def journal(self) -> Journal:
        """The workspace's journal, which writes nothing that the guard does not permit."""
        from infra.observability.told_journal import ToldJournal

        return ToldJournal(self.workspace.journal_url, guard=lambda: self.guard)

    @cached_property
    def leases(self) -> Leases:
        """Leases beside the journal."""
        from registry.lease import Leases

        return Leases(self.journal)

    @cached_property
    def store(self) -> ContentStore:
        """Artifacts and variants by digest, in a bucket too where one is named."""
        from registry.store import ContentStore

        address = self.workspace.artifacts_address
        if not address:
            return ContentStore(self.workspace.store)
        from infra.bucket_place import open_blobs
        from registry.remote_store import RemoteStore

        return RemoteStore(self.workspace.store, open_blobs(address))

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow."""
        from registry.tracking import Tracking

        return Tracking.of_workspace(self.workspace)

    @cached_property
    def signing_key(self) -> SigningKey:
        """The key that signs releases."""
        from registry.signature import SigningKey

        return SigningKey.load_or_create(self.workspace.keys)

    @cached_property
    def attestations(self) -> AttestationStore:
        """Signed statements about what was made."""
        from registry.attestation import AttestationStore

        return AttestationStore(self.workspace.attestations)

    @cached_property
    def fleet(self) -> Fleet:
        """Triton revisions, on this machine or in a cluster."""
        if self.workspace.platform == "kubernetes":
            from infra.kubernetes.fleet import KubernetesFleet

            return KubernetesFleet(self.workspace)
        from infra.local.fleet import LocalFleet

        return LocalFleet(self.workspace)

    @cached_property
    def router(self) -> Router:
        """Envoy's routes, or those of a cluster's gateway."""
        if self.workspace.platform == "kubernetes":
            from infra.kubernetes.route_engine import open_router

            return open_router(self.workspace.settings.kubernetes)
        from infra.local.envoy import EnvoyRouter

        return EnvoyRouter(self.workspace)

    @cached_property
    def telemetry(self) -> Telemetry:
        """Envoy's counters, its own or those that a Prometheus scraped."""
        from infra.local.envoy_telemetry import EnvoyTelemetry

        settings = self.workspace.settings.telemetry
        if not settings.prometheus and self.workspace.platform == "kubernetes":
            raise UserError(
                "only a Prometheus can count what a cluster's gateway saw",
                where="[telemetry] prometheus",
                remedy="set its address, and `dialect`",
            )
        if not settings.prometheus:
            return EnvoyTelemetry(self.workspace)
        from infra.prometheus_telemetry import PrometheusTelemetry

        return PrometheusTelemetry(
            settings.prometheus,
            self.workspace.predictions,
            selector=settings.selector,
            token=os.environ.get(settings.token_env, "") if settings.token_env else "",
            fresh_s=settings.fresh_s,
            dialect=settings.dialect,
        )

    def catalog(self, model: str) -> Catalog:
        """What the journal knows of the model's artifacts, variants, gates and releases."""
        from registry.catalog import Catalog

        return Catalog.fold(self.journal.read(model, kinds=Catalog.KINDS))

    def counted(self, entry: Entry) -> Entry:
        """One entry of the journal, as the catalog counts it."""
        return entry

    def keep_files(self, model: str, artifact: str, folder: Path, name: str) -> str:
        """Keep the folder's files in MLflow, with the artifact's run; where.

        Raises EngineError when MLflow does not take them.
        """
        run = self.catalog(model).artifacts[artifact].run_id
        self.tracking.log_files(run, folder, name)
        return f"run {run}, {name}"

    def serving(self, model: str) -> ModelServing:
        """What the journal says of the model's route and of its last rollouts."""
        from pipelines.rollout.taking_up import read_serving

        return read_serving(self.journal, model)

    def append(self, model: str, kind: str, body: dict[str, object]) -> None:
        """Journal one fact about the model, now, as this actor."""
        self.journal.append(model, kind, body, actor=self.actor, at=time.time())

    def permit(self, model: str, kind: str, body: Mapping[str, object] | None = None) -> None:
        """Raise UserError unless this actor may journal such an entry; for a flow's first line."""
        self.journal.permit(model, kind, body or {}, actor=self.actor, at=time.time())

    def require(self, action: Action, model: str = "*") -> None:
        """Raise UserError unless this actor may do what no journal entry tells of."""
        self.guard.require(self.actor, action, model)

    def lease_is_orphaned(self, model: str) -> bool:
        """Whether the model's lease belongs to a process of this machine that has ended."""
        from pipelines.rollout.holders import is_dead

        lease = self.leases.current(model)
        return lease is not None and is_dead(lease)

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        """A folder for work under way, removed at the end; one that a killed command left is swept.

        Raises PermanentEngineError when the disk refuses it.
        """
        from registry.scratch import scratch_folder

        root = self.workspace.work / purpose
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(scratch_folder(root))
            except OSError as error:
                raise disk_error(root, error) from error
            yield folder

    def controller(
        self,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Controller:
        """The one that moves traffic. Between two of its looks it calls `sleep` with seconds."""
        from pipelines.rollout.controller import Controller
        from pipelines.rollout.holders import holder_name

        return Controller(
            self.journal,
            self.leases,
            self.fleet,
            self.router,
            self.telemetry,
            clock=clock,
            sleep=sleep,
            steady=time.monotonic,
            actor=self.actor,
            holder=holder_name(self.actor),
            on_event=self.tell,
            aliases=self.set_alias,
            roles=self.guard.roles_of,
        )

    def tell(self, line: str) -> None:
        """Show whoever waits what a controller does."""
        from pipelines.stages import announce

        announce(line)

    def set_alias(self, model: str, alias: str, release: int) -> None:
        """Let the model's alias follow its traffic. Raises EngineError when MLflow refuses."""
        from pipelines.rollout.aliases import write_alias

        write_alias(self, model, alias, release)
