"""Flow: every byte that is kept is hashed again; for a schedule, say once a night.

Where all is well, serving pointers that are half over are signed anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from pipelines.assembly import Platform
from pipelines.scrubbing import scrub_workspace
from pipelines.serving_pointer import keep_fresh
from registry.errors import IntegrityError, UserError
from registry.workspace import SETTINGS_FILE, Workspace


@flow(name="scrub", flow_run_name="scrub")
def scrub(workspace: str, model: str = "", actor: str = "") -> dict[str, Any]:
    """Scrub the workspace, or one model's part of it. Returns what was checked and found.

    A run in which something was found that could not be healed fails with IntegrityError, so that
    Prefect shows it. Raises UserError without a workspace.
    """
    root = Path(workspace)
    if not workspace or not (root / SETTINGS_FILE).is_file():
        remedy = "set SLUICE_WORKSPACE before `prefect deploy`"
        raise UserError("is not the folder of a workspace", where=repr(workspace), remedy=remedy)
    platform = Platform(Workspace(root), actor=actor)
    scrubbed = scrub_workspace(platform, model)
    broken = [one for one in scrubbed.outcomes if one.outcome != "healed"]
    if broken:
        first = broken[0].finding
        raise IntegrityError(
            f"{len(broken)} files are not as recorded: {first.path} {first.what}",
            where=str(platform.workspace.root),
            remedy="`sluice scrub` tells who depends on them; the journal has it too",
        )
    for name in [model] if model else platform.journal.models():
        keep_fresh(platform, name)
    return scrubbed.to_json()
