"""Removes what a killed Triton leaves in the system's shared memory."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

_REGIONS = Path("/dev/shm")  # noqa: S108 - where the kernel keeps POSIX shared memory


def region_prefix(run: Path, model: str, release: int) -> str:
    """The names of a revision's regions start so; no other revision's do."""
    return f"sluice-{sha256(str(run.resolve()).encode()).hexdigest()[:8]}-{model}-r{release}-"


def remove_regions(prefix: str) -> None:
    """Remove the regions of a revision that ended."""
    for region in _REGIONS.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
