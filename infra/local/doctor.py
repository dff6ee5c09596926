"""What this machine lacks, each finding with the command that mends it. Changes nothing.

No engine is started for longer than it takes to print its help.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.environments.locks import ENVIRONMENTS
from infra.local import triton
from infra.local.triton_backends import backend_folder
from registry.errors import PermanentEngineError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.workspace import Workspace

FREE_BYTES = 5 << 30
"""A conversion's working files, its variants, and a copy of each in the store."""
SHARED_MEMORY_BYTES = 64 << 20
_RUN_TIMEOUT_S = 20.0
_NOT_LOADED = 127


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` is a command or an advice, empty when `ok`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def examine(workspace: Workspace | None) -> tuple[Check, ...]:
    """Every check of the machine, and of `workspace` when there is one."""
    found = [*_environments(), *_engines(), *_tools(), _shared_memory()]
    if workspace is not None:
        found += [_writable(workspace.root), _disk(workspace.root), _access(workspace)]
        found += _stack(workspace)
    return tuple(found)


def _environments() -> Iterator[Check]:
    for environment in ENVIRONMENTS:
        complete = environment.is_complete()
        yield Check(
            f"environment {environment.name}",
            complete,
            f"{environment.purpose} in {environment.path}" if complete else "not installed",
            "" if complete else "make setup",
        )


def _engines() -> Iterator[Check]:
    yield _runs("Triton server", triton.server_binary(), "--help")
    try:
        stub = backend_folder() / "python" / "triton_python_backend_stub"
    except PermanentEngineError as error:
        yield Check("Triton's Python backend", ok=False, detail=error.what, remedy="make setup")
    else:
        yield _runs(
            "Triton's Python backend", stub, remedy="install libpython3.11 (Debian package)"
        )
    try:
        from infra.local.envoy import envoy_binary

        yield _runs("Envoy", envoy_binary(), "--version")
    except ImportError as error:
        yield Check("Envoy", ok=False, detail=str(error), remedy="make setup")


def _runs(name: str, binary: Path, *arguments: str, remedy: str = "make setup") -> Check:
    """Whether the system can load `binary`; what it answers does not matter."""
    try:
        outcome = subprocess.run(
            [str(binary), *arguments],
            env=triton.environment(predictions=None),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_RUN_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, ok=False, detail=f"cannot be run: {error}", remedy=remedy)
    if outcome.returncode == _NOT_LOADED:
        words = outcome.stderr.decode(errors="replace").strip().splitlines() or [""]
        return Check(name, ok=False, detail=words[-1], remedy=remedy)
    return Check(name, ok=True, detail=str(binary))


def _tools() -> Iterator[Check]:
    git = shutil.which("git")
    remedy = "" if git else "install git (Debian package git)"
    yield Check("git", git is not None, git or "not found", remedy)
    dvc = Path(sys.executable).with_name("dvc")
    found = dvc.exists()
    yield Check("dvc", found, str(dvc) if found else "not found", "" if found else "make setup")


def _shared_memory() -> Check:
    """Triton and its model processes hand tensors over through shared memory."""
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - the kernel's own place
    ok = free >= SHARED_MEMORY_BYTES
    remedy = "" if ok else "free /dev/shm, or give the container more (docker run --shm-size=1g)"
    return Check("shared memory", ok, f"{free >> 20} MB free", remedy)


def _writable(root: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=root):
            return Check("write permission", ok=True, detail=str(root))
    except OSError as error:
        return Check(
            "write permission",
            ok=False,
            detail=f"{root}: {error.strerror}",
            remedy=f"chown -R {os.getuid()} {root}",
        )


def _access(workspace: Workspace) -> Check:
    path = workspace.access_file
    if not path.exists():
        return Check("access", ok=True, detail="no access.toml: everybody here may do everything")
    from registry.access_file import load_access

    try:
        policy = load_access(path).policy
    except SluiceError as error:
        return Check("access", ok=False, detail=str(error), remedy="correct access.toml")
    grants, rules = len(policy.grants), len(policy.production)
    return Check("access", ok=True, detail=f"{path}: {grants} grants, {rules} rules for production")


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    ok = free >= FREE_BYTES
    remedy = "" if ok else f"free {(FREE_BYTES - free) / (1 << 30):.1f} GB on that file system"
    return Check("disk space", ok, f"{free / (1 << 30):.1f} GB free at {root}", remedy)


def _stack(workspace: Workspace) -> Iterator[Check]:
    from infra.local.stack import blocked_port, status

    try:
        blocked = blocked_port(workspace)
        detail = blocked or "the front door's is free or its own"
        remedy = "stop that program, or set another `port` in [serving]" if blocked else ""
        yield Check("ports", not blocked, detail, remedy)
        now = status(workspace)
    except SluiceError as error:
        yield Check("stack", ok=False, detail=str(error), remedy="sluice down")
        return
    for service in now.services:
        remedy = "" if service.ready else "sluice up"
        yield Check(service.title, service.ready, service.detail or service.url, remedy)
