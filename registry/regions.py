"""A region as a workspace: its own engines and journal, the home workspace's keys and policies.

Its journal is its own, so that going back there needs no other region. Keys, artifacts, `models/`
and `access.toml` are the home's. Like `workspace.py` it makes no folder and opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.names import check_name
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from registry.region_settings import RegionSection
    from registry.settings import WorkspaceSettings


@dataclass(frozen=True)
class RegionWorkspace(Workspace):
    """Region `name` of `home`; `root` is its own folder."""

    name: str
    home: Workspace

    @cached_property
    def section(self) -> RegionSection:
        """What the home's `sluice.toml` says of it."""
        return self.home.settings.regions[self.name]

    @cached_property
    def settings(self) -> WorkspaceSettings:
        """The home's, with what the region's table says instead."""
        settings = self.home.settings.of_region(self.name)
        keys = settings.serving.issuer_keys
        if not keys:
            return settings
        # A path from the home's folder.
        serving = settings.serving.model_copy(update={"issuer_keys": str(self.home.root / keys)})
        return settings.model_copy(update={"serving": serving})

    @property
    def journal_url(self) -> str:
        """SQLAlchemy URL of the region's own journal."""
        return self.section.journal or f"sqlite:///{self.state / 'journal.db'}"

    @property
    def tracking_uri(self) -> str:
        """The home's."""
        return self.home.tracking_uri

    @property
    def state(self) -> Path:
        """The region's folder itself."""
        return self.root

    @property
    def store(self) -> Path:
        """The home's."""
        return self.home.store

    @property
    def mlflow(self) -> Path:
        """The home's."""
        return self.home.mlflow

    @property
    def keys(self) -> Path:
        """The home's."""
        return self.home.keys

    @property
    def attestations(self) -> Path:
        """The home's."""
        return self.home.attestations

    @property
    def access_file(self) -> Path:
        """The home's."""
        return self.home.access_file

    def model_file(self, name: str) -> Path:
        """The home's."""
        return self.home.model_file(name)

    def model_names(self) -> tuple[str, ...]:
        """The home's."""
        return self.home.model_names()

    def has_section(self, name: str) -> bool:
        """Whether the home's settings have it."""
        return self.home.has_section(name)

    def _plain(self, table: str, key: str) -> str:
        return self.home._plain(table, key)  # noqa: SLF001 - a workspace of the same settings


def region_names(home: Workspace) -> tuple[str, ...]:
    """Regions that `sluice.toml` names, in its order; none, at no cost, without `[regions]`."""
    return tuple(home.settings.regions) if home.has_section("regions") else ()


def open_region(home: Workspace, name: str) -> RegionWorkspace:
    """The region `name`. Raises UserError that lists those there are."""
    check_regions(home, [name], where=str(home.root / "sluice.toml"))
    folder = home.settings.regions[name].folder
    root = home.root / folder if folder else home.state / "regions" / name
    return RegionWorkspace(root, name=name, home=home)


def check_regions(home: Workspace, names: Iterable[str], *, where: str) -> None:
    """Raise UserError for the first name that is no region of the workspace."""
    known = region_names(home)
    for name in names:
        if name not in known:
            raise UserError(
                f"there is no region {name!r}; allowed: {', '.join(known) or 'none'}",
                where=where,
                remedy=f"add [regions.{check_name(name, what='region name')}] to sluice.toml",
            )
