"""Reads `access.toml`, the one file that says who may do what. Without it, everybody may."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import field_validator

from registry.access import AccessPolicy
from registry.toml_files import load_toml

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, and the SHA-256 (hex) of the file that it was read from."""

    policy: AccessPolicy
    digest: str


class _File(AccessPolicy):
    """As people write it: a single `[production]` is a list of one."""

    @field_validator("production", mode="before")
    @classmethod
    def _is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, dict) else value


def load_access(path: Path) -> LoadedPolicy:
    """The policy in `path`. Raises UserError that names the line and what is allowed there."""
    policy = load_toml(path, _File)
    return LoadedPolicy(policy, hashlib.sha256(path.read_bytes()).hexdigest())
