"""What the release in service has of its own to be compared with: its gate's reference, its days.

A release names its reference by digest, as its gate's report does, and the content store hashes
what it hands out. So a reference that is gone or changed is found out, and is a fault with a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.phases import Outcome
from drift.gate_reference import DESCRIPTION, RECORDS, GateReference
from drift.windows import Own, first_days
from registry.errors import SluiceError

if TYPE_CHECKING:
    from canary.states import ModelServing
    from drift.case import DriftState
    from drift.policy import DriftPolicy
    from drift.windows import Window
    from pipelines.assembly import Platform
    from registry.catalog import Catalog

NAME = "reference"
"""Of its digest in a gate's report."""


@dataclass(frozen=True, slots=True)
class OwnReference:
    """What the release in service has of its own; `own.release` is 0 when there is none."""

    own: Own
    gate: GateReference | None = None
    fault: str = ""
    """Why the gate's reference cannot be read; empty when it can, or the gate kept none."""
    lack: str = ""
    """Why there is none though nothing is wrong."""


def own_reference(
    platform: Platform,
    catalog: Catalog,
    serving: ModelServing,
    state: DriftState,
    policy: DriftPolicy,
    window: Window,
    newest: int,
) -> OwnReference:
    """What the release in service, else `newest` that answered, can be compared with.

    Reads no record of the log. A reference that is gone or changed is a fault and no error.
    """
    release = serving.live or newest
    if release not in catalog.releases:
        return OwnReference(Own(), lack="no published release is in service")
    days = healthy_days(serving, state, release, window, policy.least_reference_days)
    try:
        gate = gate_reference(platform, catalog, release)
    except SluiceError as error:
        fault = f"the reference of release {release} cannot be read: {error}"
        return OwnReference(Own(release, days), fault=fault)
    lack = "" if gate else f"release {release} was gated before references were kept"
    return OwnReference(Own(release, days, is_gated=gate is not None), gate, lack=lack)


def healthy_days(
    serving: ModelServing, state: DriftState, release: int, window: Window, most: int
) -> tuple[Window, ...]:
    """The first whole days of a release since it last settled; none once it was rolled back."""
    if release in serving.withdrawn:
        return ()
    settled = [
        ended.ended_at
        for ended in serving.history
        if ended.candidate == release and ended.outcome is Outcome.SETTLED
    ]
    return first_days(settled[-1], window, most, state.doubtful) if settled else ()


def gate_reference(platform: Platform, catalog: Catalog, release: int) -> GateReference | None:
    """The reference that the release's gate kept; None when it kept none.

    Raises IntegrityError or UserError when it is gone, or is not what the gate kept.
    """
    digest = catalog.releases[release].body.get("reference", "")
    if not digest:
        return None
    files = {name: platform.store.read(digest, name) for name in (RECORDS, DESCRIPTION)}
    return GateReference.from_files(files)
