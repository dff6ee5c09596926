"""`python3 -m infra.environments [NAME ...]`: make what is missing, say so when nothing is."""

from __future__ import annotations

import compileall
import fcntl
import os
import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.environments.locks import CHECKOUT, CONTROL, ENVIRONMENTS, LOCKS, Environment, cache_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

INSTALL_TIMEOUT_S = 1800
_AT_A_TIME = 2
ROOMS = (
    "cli",
    "registry",
    "pipelines",
    "validation",
    "canary",
    "drift",
    "model_repository",
    "infra",
)


def main(names: list[str]) -> int:
    """Make the named environments, or all. Returns the exit code."""
    known = {environment.name: environment for environment in ENVIRONMENTS}
    if unknown := [name for name in names if name not in known]:
        print(
            f"error: no environment {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr
        )
        return 2
    if sys.version_info[:2] != (3, 11):
        print(
            f"error: Python 3.11 is needed, this is {sys.version.split()[0]}; "
            "run `make setup PYTHON=python3.11`",
            file=sys.stderr,
        )
        return 2
    chosen = [known[name] for name in names] or list(ENVIRONMENTS)
    labels = [
        f"[{number}/{len(chosen)}] {environment.name}: {environment.purpose}"
        for number, environment in enumerate(chosen, start=1)
    ]
    # One waits for the network while another writes its files.
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        whole = list(pool.map(_bring, chosen, labels))
    return 0 if all(whole) else 2


def _bring(environment: Environment, label: str) -> bool:
    """Whether the environment is there, found or made now."""
    with _locked(environment):
        if environment.is_complete():
            print(f"{label}: ready", flush=True)
            return True
        print(f"{label}: installing ...", flush=True)
        started = time.monotonic()
        try:
            _make(environment)
        except subprocess.CalledProcessError as error:
            print(
                f"error: the environment {environment.name!r} could not be installed: "
                f"{_command(error)} ended with {error.returncode}; its last words are above",
                file=sys.stderr,
            )
            return False
        except (subprocess.TimeoutExpired, OSError) as error:
            print(f"error: the environment {environment.name!r}: {error}", file=sys.stderr)
            return False
        print(f"{label}: made in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _make(environment: Environment) -> None:
    shutil.rmtree(environment.path, ignore_errors=True)
    environment.path.parent.mkdir(parents=True, exist_ok=True)
    uv = _uv()
    # pip stays in the converter alone: it knows where this machine keeps its build of PyTorch.
    venv.create(environment.path, with_pip=bool(environment.extra))
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", environment.python]
    # Commands start faster where nothing is left to compile, also when Python may not write.
    compiled = ["--compile-bytecode", "--require-hashes", "--no-config"]
    _run([*install, *compiled, "--requirement", environment.lock])
    for requirement in environment.extra:
        _run([environment.python, "-m", "pip", "install", "--quiet", requirement])
    if environment is CONTROL:
        # A plain path file: the default one imports a finder at every start.
        plain = ["--config-setting", "editable_mode=compat"]
        _run([*install, *plain, "--no-deps", "--no-build-isolation", "--editable", CHECKOUT])
        for room in ROOMS:
            compileall.compile_dir(CHECKOUT / room, quiet=2)
        _run([environment.python, "-m", "infra.local.prefect_database"])
    environment.marker.write_text(environment.lock_hash)


def _uv() -> Path:
    """The installer, itself from a hashed lock, kept in the user's cache."""
    tool = Environment("bootstrap", "the installer")
    with _locked(tool):
        if not tool.is_complete():
            venv.create(tool.path, with_pip=True)
            install: list[str | Path] = [tool.python, "-m", "pip", "install", "--quiet"]
            _run([*install, "--require-hashes", "--requirement", LOCKS / "bootstrap.lock"])
            tool.marker.write_text(tool.lock_hash)
    return tool.path / "bin" / "uv"


def _run(command: Sequence[str | Path]) -> None:
    variables = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # pip and uv name the trusted certificates differently; a machine that set one means both.
    if certificates := os.environ.get("PIP_CERT"):
        variables.setdefault("SSL_CERT_FILE", certificates)
    subprocess.run(list(map(str, command)), check=True, env=variables, timeout=INSTALL_TIMEOUT_S)


def _command(error: subprocess.CalledProcessError) -> str:
    return f"`{' '.join(error.cmd[:3])} ...`"


@contextmanager
def _locked(environment: Environment) -> Iterator[None]:
    """One installer at a time for one environment, across checkouts."""
    folder = cache_root() / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    name = "control-" + CHECKOUT.name if environment is CONTROL else environment.path.name
    with (folder / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
