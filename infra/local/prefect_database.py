"""The embedded Prefect server's database, empty and at its newest schema, made once a machine.

Prefect's hundred migrations take a new database fifteen seconds of a processor. So `make setup`
lets Prefect make one, without a row but the schema's version, and each workspace begins with a
copy. Where there is none, the server migrates by itself as it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from infra.environments.locks import cache_root
from registry.files import create_once
from registry.quiet import QUIET_ENVIRONMENT

DATABASE = "prefect.db"
"""Its file below a workspace's `PREFECT_HOME`, which is Prefect's own default."""
_TIMEOUT_S = 600


def template() -> Path:
    """Where the empty database of this Prefect is kept."""
    return cache_root() / "prefect" / f"{version('prefect')}.db"


def make_template() -> None:
    """Let Prefect make it, unless it is there. Raises CalledProcessError or TimeoutExpired."""
    made = template()
    if made.exists():
        return
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        database = Path(folder) / DATABASE
        subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
            env=os.environ | QUIET_ENVIRONMENT | environment(database) | {"PREFECT_HOME": folder},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=_TIMEOUT_S,
        )
        create_once(made, database.read_bytes())


def seed(database: Path) -> None:
    """Begin with a copy of the template, if there is one and no database yet.

    Raises PermanentEngineError when the disk refuses.
    """
    made = template()
    if database.exists() or not made.exists():
        return
    create_once(database, made.read_bytes())


def environment(database: Path) -> dict[str, str]:
    """What names the database to a Prefect server."""
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"}


if __name__ == "__main__":
    make_template()
