"""How one Triton process is started: its command line and its environment.

A release may be several Triton models; one process loads them all and nothing else. Nothing here
starts or asks a process.
"""

from __future__ import annotations

import os
import secrets
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.environments.locks import SERVING
from infra.local.ports import LOOPBACK
from infra.local.request_tracing import triton_options
from infra.local.triton_backends import (
    STAND_INS,
    backend_folder,
    require_backends,
    server_folder,
)
from model_repository.building import describe_release
from model_repository.layout import ReleaseLayout, parts
from model_repository.programs.common.fingerprint import KEY_VARIABLE
from registry.files import create_once, make_folder
from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from infra.local.request_tracing import RequestTracing

PREDICTION_LOG_VARIABLE = "SLUICE_PREDICTION_LOG"
TEXT_KEY = "text.key"
"""File below the workspace's keys by which answers get their names in the prediction log."""
SECRET_HEADER = "x-sluice-secret"  # noqa: S105 - a header's name
"""Header that the restricted parts of Triton's API ask for."""
STOP_WAIT_S = 15
"""Requests in flight may end (`--exit-timeout-secs`), then the process group is killed."""
_EXIT_TIMEOUT_S = 10
_FORWARDED_HEADERS = "(?i)x-(request-id|session-id|sluice-shadow)"
_RESTRICTED = "model-repository,shared-memory,trace,logging"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Loopback ports of one Triton, and the secret of its restricted API."""

    http: int
    grpc: int
    metrics: int
    secret: str

    @property
    def http_url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://{LOOPBACK}:{self.http}"

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC API."""
        return f"{LOOPBACK}:{self.grpc}"


def server_binary() -> Path:
    """The `tritonserver` of the serving environment."""
    return server_folder() / "bin" / "tritonserver"


def triton_models(repository: Path, model: str, release: int) -> tuple[str, ...]:
    """Triton's names of everything that release `release` of `model` is, `model` itself last."""
    return (*parts(repository, model, release), model)


def response_cache_bytes(repository: Path, model: str, release: int) -> int:
    """How much a release wants to keep of its answers, in bytes: 0 unless it says otherwise.

    It stands in the release's own description, which is signed with it. Raises IntegrityError
    when that cannot be read.
    """
    description = describe_release(ReleaseLayout(repository, model, release).folder)
    return int(description.get("serve", {}).get("response_cache_mb", 0)) << 20


def command_line(
    repository: Path,
    model: str,
    release: int,
    endpoints: Endpoints,
    shared_memory_prefix: str,
    tracing: RequestTracing | None = None,
) -> tuple[str, ...]:
    """The command of a server that loads release `release` of `model` from `repository` only.

    Raises UserError for a release that needs a backend which is not here.
    """
    backends = backend_folder()
    require_backends(backends, repository, model, release)
    return (
        str(server_binary()),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in triton_models(repository, model, release)),
        f"--model-config-name=r{release}",
        "--disable-auto-complete-config",
        # Stay, so that the index can say why a model did not load.
        "--exit-on-error=false",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        f"--backend-directory={backends}",
        *(
            f"--backend-config={backend},shm-region-prefix-name={shared_memory_prefix}"
            for backend in ("python", *STAND_INS)
        ),
        *_cache_options(response_cache_bytes(repository, model, release)),
        f"--http-address={LOOPBACK}",
        f"--http-port={endpoints.http}",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={endpoints.grpc}",
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={endpoints.metrics}",
        "--allow-gpu-metrics=false",
        f"--http-header-forward-pattern={_FORWARDED_HEADERS}",
        f"--grpc-header-forward-pattern={_FORWARDED_HEADERS}",
        f"--http-restricted-api={_RESTRICTED}:{SECRET_HEADER}={endpoints.secret}",
        f"--grpc-restricted-protocol={_RESTRICTED}:{SECRET_HEADER}={endpoints.secret}",
        "--log-info=true",
        *triton_options(tracing),
    )


def _cache_options(size: int) -> tuple[str, ...]:
    """A cache of `size` bytes within the process; it serves models that ask for it."""
    if not size:
        return ()
    folder = server_folder() / "caches"
    return (f"--cache-directory={folder}", f"--cache-config=local,size={size}")


def _python_libraries() -> str:
    """Where the interpreter keeps libpython.

    The stub must run the very one that the serving environment's standard library belongs to:
    another patch release of 3.11 from the system lacks symbols that its modules need.
    """
    return str(sysconfig.get_config_var("LIBDIR"))


def text_key(keys: Path) -> Path:
    """The file of the key, below the folder `keys`; made where it is missing.

    Raises PermanentEngineError when the disk refuses.
    """
    path = keys / TEXT_KEY
    if not path.exists():
        make_folder(keys)
        create_once(path, secrets.token_bytes(32), mode=0o600)
    return path


def environment(predictions: Path | None, key: Path | None = None) -> dict[str, str]:
    """What the server and its `model.py` see: the serving environment's packages, no others.

    `predictions` is where served requests are recorded; None records nothing. `key` is the file
    by which their texts get names there; None names none.
    """
    recorded = {} if predictions is None else {PREDICTION_LOG_VARIABLE: str(predictions)}
    recorded |= {} if key is None else {KEY_VARIABLE: str(key)}
    libraries = SERVING.site_packages / "nvidia_pytriton.libs"
    return (
        QUIET_ENVIRONMENT
        | recorded
        | {
            "PATH": f"{SERVING.path / 'bin'}:{os.defpath}",
            "PYTHONPATH": str(SERVING.site_packages),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": f"{libraries}:{_python_libraries()}",
            "VIRTUAL_ENV": str(SERVING.path),
            # One revision among several: arenas of many threads cost memory and win nothing here.
            "MALLOC_ARENA_MAX": "2",
            # NumPy's own threads would spin against those of the inference engine.
            "OPENBLAS_NUM_THREADS": "1",
        }
    )
