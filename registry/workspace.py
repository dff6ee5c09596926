"""Where a workspace keeps things: one folder, `sluice.toml` at its top, all state in `.sluice/`.

Every other room is handed a path by this one, so the layout stands in one place. It makes no
folder and opens nothing in them.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.names import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from registry.settings import WorkspaceSettings

SETTINGS_FILE = "sluice.toml"

_IN_URLS = "?#%"


@dataclass(frozen=True)
class Workspace:
    """The workspace at `root`, an absolute path."""

    root: Path

    @classmethod
    def find(cls, start: Path) -> Workspace:
        """The workspace that `start` is in: the nearest folder upwards that has `sluice.toml`.

        Raises UserError when there is none.
        """
        start = _usable(start)
        for folder in (start, *start.parents):
            if (folder / SETTINGS_FILE).is_file():
                return cls(folder)
        raise UserError(
            f"there is no {SETTINGS_FILE} here or above",
            where=str(start),
            remedy="run `sluice init`",
        )

    @cached_property
    def settings(self) -> WorkspaceSettings:
        """`sluice.toml` under the environment's overrides, read once. Raises UserError."""
        from registry.settings import load_settings

        return load_settings(self.root / SETTINGS_FILE)

    @property
    def journal_url(self) -> str:
        """SQLAlchemy URL of the journal's database."""
        return self._plain("journal", "url") or f"sqlite:///{self.state / 'journal.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI."""
        return self._plain("tracking", "uri") or f"sqlite:///{self.mlflow / 'mlflow.db'}"

    @property
    def tracing_endpoint(self) -> str:
        """Base address of the OpenTelemetry collector; empty: spans go nowhere."""
        return self._plain("tracing", "endpoint")

    @property
    def log_format(self) -> str:
        """`json`, or anything else for words."""
        return self._plain("logs", "format")

    @property
    def platform(self) -> str:
        """Which engines serve: `local` or `kubernetes`. Raises UserError for anything else."""
        named = self._plain("serving", "platform") or "local"
        return named if named == "local" else self.settings.serving.platform

    @property
    def artifacts_address(self) -> str:
        """The place behind the store, empty without one."""
        return self._plain("store", "artifacts")

    @property
    def repository_address(self) -> str:
        """The place that releases are brought to, empty without one."""
        return self._plain("store", "repository")

    @property
    def state(self) -> Path:
        """`.sluice`, above all the folders below."""
        return self.root / ".sluice"

    @property
    def store(self) -> Path:
        """The content store: every artifact and variant, by digest."""
        return self.state / "store"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts, when no server is set."""
        return self.state / "mlflow"

    @property
    def prefect(self) -> Path:
        """Prefect's home."""
        return self.state / "prefect"

    @property
    def repository(self) -> Path:
        """Triton's model repository: only whole, published releases."""
        return self.state / "repository"

    @property
    def releases(self) -> Path:
        """Signed records of the releases."""
        return self.state / "releases"

    @property
    def access_file(self) -> Path:
        """Who may do what; without the file everybody may do everything."""
        return self.root / "access.toml"

    @property
    def pointers(self) -> Path:
        """Signed statements of which release of each model serves."""
        return self.state / "pointers"

    @property
    def staging(self) -> Path:
        """Releases being made, on the same file system as the repository."""
        return self.state / "staging"

    @property
    def predictions(self) -> Path:
        """The prediction log."""
        return self.state / "predictions"

    @property
    def run(self) -> Path:
        """Sockets, ports and configurations of running processes."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """What processes print."""
        return self.state / "logs"

    @property
    def keys(self) -> Path:
        """Signing keys."""
        return self.state / "keys"

    @property
    def attestations(self) -> Path:
        """Signed statements about conversions, gates and releases, by digest."""
        return self.state / "attestations"

    @property
    def quarantine(self) -> Path:
        """Damaged files that a scrub took away, each with a note of why."""
        return self.state / "quarantine"

    @property
    def reports(self) -> Path:
        """Gate and drift reports."""
        return self.state / "reports"

    @property
    def work(self) -> Path:
        """Scratch folders of commands that run now."""
        return self.state / "work"

    def model_file(self, name: str) -> Path:
        """`models/NAME.toml`, there or not. Raises UserError for an illegal name."""
        return self.root / "models" / f"{check_name(name)}.toml"

    def require_model(self, name: str) -> None:
        """Raise UserError when the workspace has no policy for `name`."""
        if not self.model_file(name).is_file():
            raise UserError(
                f"no model {name!r}; this workspace has {', '.join(self.model_names()) or 'none'}",
                where=str(self.root),
                remedy=f"write its policy with `sluice init --model {name}`",
            )

    def model_names(self) -> tuple[str, ...]:
        """Names of the models that have a file, sorted."""
        return tuple(sorted(path.stem for path in (self.root / "models").glob("*.toml")))

    def has_section(self, name: str) -> bool:
        """Whether `sluice.toml` has the table, as far as can be told without reading it whole."""
        try:
            return name in tomllib.loads((self.root / SETTINGS_FILE).read_text())
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            return True

    def _plain(self, table: str, key: str) -> str:
        """One string of the settings without pydantic, for commands that must start fast."""
        if value := os.environ.get(f"SLUICE_{table}__{key}".upper()):
            return value
        try:
            section = tomllib.loads((self.root / SETTINGS_FILE).read_text()).get(table)
        except (OSError, ValueError):
            return str(getattr(getattr(self.settings, table), key))
        found = section.get(key, "") if isinstance(section, dict) else ""
        return found if isinstance(found, str) else ""


def _usable(root: Path) -> Path:
    """`root`, absolute. Refuses characters that would end the path inside a database's URL."""
    root = root.absolute()
    if any(character in str(root) for character in _IN_URLS) or not str(root).isprintable():
        raise UserError(
            f"a workspace's path cannot hold {' '.join(_IN_URLS)} or control characters",
            where=repr(str(root)),
            remedy="use another folder",
        )
    return root
