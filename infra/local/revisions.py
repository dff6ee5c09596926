"""Records where each revision listens: kept across restarts, read by fleet and router.

One small file a revision below `run/revisions/`. It says that a revision was asked for and where
it listens, never that it is well.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING

from infra.local.ports import free_ports, is_free
from infra.local.triton import Endpoints
from registry.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_RECORD = re.compile(r"r(\d+)\.json")


class RevisionRecords:
    """The records of one workspace."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "revisions"

    def find(self, model: str, release: int) -> Endpoints | None:
        """Where the revision listens, None when it was never started or was stopped."""
        try:
            return Endpoints(**json.loads(self._path(model, release).read_bytes()))
        except FileNotFoundError:
            return None

    def all(self) -> Mapping[tuple[str, int], Endpoints]:
        """Every record by (model, release), sorted."""
        found = {}
        for path in sorted(self._folder.glob("*/r*.json")):
            name = _RECORD.fullmatch(path.name)
            endpoints = self.find(path.parent.name, int(name[1])) if name else None
            if name and endpoints is not None:
                found[path.parent.name, int(name[1])] = endpoints
        return found

    def reserve(self, model: str, release: int) -> Endpoints:
        """The recorded endpoints when their ports are still free, else new ones, recorded.

        Call it only while the revision is not running.
        """
        known = self.find(model, release)
        if known is not None and all(map(is_free, (known.http, known.grpc, known.metrics))):
            return known
        endpoints = new_endpoints()
        content = json.dumps(asdict(endpoints)).encode()
        write_atomic(self._path(model, release), content, mode=0o600)
        return endpoints

    def forget(self, model: str, release: int) -> None:
        """Remove the record, if there is one."""
        self._path(model, release).unlink(missing_ok=True)

    def _path(self, model: str, release: int) -> Path:
        return self._folder / model / f"r{release}.json"


def new_endpoints() -> Endpoints:
    """Three free ports and a new secret."""
    http, grpc, metrics = free_ports(3)
    return Endpoints(http, grpc, metrics, secrets.token_hex(16))
