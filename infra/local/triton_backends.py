"""The wheel's Triton and the backends it is given: its own Python backend, and two stand-ins.

The wheel carries no ONNX Runtime and no OpenVINO backend. Python-based backends take their place,
so that a `config.pbtxt` is the same here and in the Triton container (see `infra/local/backends`).
"""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from pathlib import Path

from infra.environments.locks import CHECKOUT, SERVING, cache_root
from model_repository.layout import ReleaseLayout
from registry.errors import PermanentEngineError, UserError
from registry.files import staged_folder

STAND_INS = ("onnxruntime", "openvino")
"""Backends served by Python in the place of the container's own."""
_SOURCES = Path(__file__).with_name("backends")
_STUB_VERSION = "3.11"
_BACKEND = re.compile(r'^backend: "([^"]+)"$', re.MULTILINE)
_ELSEWHERE = {
    "vllm": "gate and serve it where Triton has it, as in NVIDIA's container tritonserver:*-vllm-*"
}
"""Where a backend is that cannot be here, by its name."""


def server_folder() -> Path:
    """The `tritonserver` of the serving environment, with its backends and caches."""
    return SERVING.site_packages / "pytriton" / "tritonserver"


def backend_folder() -> Path:
    """The backend directory for the wheel's server, made at its first use.

    Its name holds the serving environment's lock and the stand-ins' own source, so a change of
    either makes another one. Raises PermanentEngineError when the environment is not installed.
    """
    target = cache_root() / "backends" / f"{SERVING.lock_hash[:16]}-{_sources_hash()[:8]}"
    if target.exists():
        return target
    root = server_folder()
    stub = root / "python_backend_stubs" / _STUB_VERSION / "triton_python_backend_stub"
    if not SERVING.is_complete() or not stub.exists():
        raise PermanentEngineError(
            "the serving environment is not installed",
            where=str(SERVING.path),
            remedy="run `make setup`",
        )
    try:
        with staged_folder(target.parent, target) as staged:
            shutil.copytree(root / "backends" / "python", staged / "python")
            shutil.copy2(stub, staged / "python" / stub.name)
            for name in STAND_INS:
                _install(name, staged / name)
    except PermanentEngineError:
        # Another process was faster; its folder is the same.
        if not target.exists():
            raise
    return target


def require_backends(backends: Path, repository: Path, model: str, release: int) -> None:
    """Refuse a release that asks for a backend which the directory `backends` does not hold.

    Asked before a server is started, which would say so in many lines and load the rest.
    Raises UserError that names the backend, the release, and what to do.
    """
    for layout in ReleaseLayout(repository, model, release).whole:
        if not layout.config.is_file():
            continue
        for name in _BACKEND.findall(layout.config.read_text()):
            if not (backends / name).is_dir():
                raise UserError(
                    f"needs a Triton with the {name} backend, which the one on this machine "
                    "does not have",
                    where=f"{model} release {release}",
                    remedy=_ELSEWHERE.get(name, "serve it where Triton has it"),
                )


def _install(name: str, folder: Path) -> None:
    """A stand-in's `model.py`, and the modules it imports below their names in this checkout."""
    modules = folder / _SOURCES.relative_to(CHECKOUT)
    modules.mkdir(parents=True)
    shutil.copyfile(_SOURCES / name / "model.py", folder / "model.py")
    for path in _SOURCES.glob("*.py"):
        shutil.copyfile(path, modules / path.name)


def _sources_hash() -> str:
    digest = sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        content = path.read_bytes()
        name = path.relative_to(_SOURCES)
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
