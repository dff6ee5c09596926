"""Where each environment lives on disk, and whether it is complete.

An environment is named by the hash of its lock, so that a second checkout with the same lock
finds it, and a changed lock never meets an old environment.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
CHECKOUT = LOCKS.parent.parent
TORCH = "torch==2.13.0"


def cache_root() -> Path:
    """The user's cache folder for environments: ``SLUICE_CACHE``, else the XDG cache folder."""
    if configured := os.environ.get("SLUICE_CACHE"):
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sluice"


@dataclass(frozen=True)
class Environment:
    """One locked Python environment."""

    name: str
    purpose: str

    @property
    def lock(self) -> Path:
        """The lock file: every package with its hashes (torch aside, see `extra`)."""
        return LOCKS / f"{self.name}.lock"

    @property
    def extra(self) -> tuple[str, ...]:
        """What is installed without hashes, because its build differs from machine to machine."""
        return (TORCH,) if self.name == "converter" else ()

    @property
    def lock_hash(self) -> str:
        """SHA-256 of the lock and the extras, in hex: part of a variant's provenance."""
        return hashlib.sha256(self.lock.read_bytes() + "\n".join(self.extra).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """The environment's folder."""
        if self.name == "control":
            return CHECKOUT / ".venv"
        return cache_root() / "environments" / f"{self.name}-{self.lock_hash[:16]}"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """The environment's package folder."""
        return self.path / "lib" / "python3.11" / "site-packages"

    @property
    def marker(self) -> Path:
        """Written last: it holds the lock's hash once everything is installed."""
        return self.path / ".sluice-complete"

    def is_complete(self) -> bool:
        """Whether everything that the lock names was installed."""
        try:
            return self.marker.read_text().strip() == self.lock_hash
        except OSError:
            return False


CONTROL = Environment("control", "the command line, flows and tests")
CONVERTER = Environment("converter", "conversions: PyTorch, Transformers, NNCF")
KERAS = Environment("keras", "conversions of Keras models: TensorFlow")
SERVING = Environment("serving", "Triton, ONNX Runtime, OpenVINO")
SCANNERS = Environment("scanners", "advisers on files from outside: modelscan, fickling")
ENVIRONMENTS = (CONTROL, CONVERTER, KERAS, SERVING, SCANNERS)
CONVERTERS = {environment.name: environment for environment in (CONVERTER, KERAS)}
"""Those that models are opened in, by the name that a kind gives."""
