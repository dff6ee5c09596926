"""An environment's Python that has imported its libraries already.

PyTorch with Transformers, or TensorFlow with Keras, take eight seconds of a processor to import; a
tiny network takes half a second to convert. MLflow and Prefect take most of a short command's time.
So one process for each environment and run of the tests imports them once, and every program that
the tests give it runs in a fork of its own, with the caller's arguments, variables, folder and
files. A converter's fork imports this checkout's modules itself. Limits, deaths and whole
conversions of the examples are shown with the environment's own Python, and what commands import,
and signals, with the real program; never with this one. It ends when the last process that asked
for it has ended.

As a program (`python warm_python.py FOLDER MODULE ...`) it is that process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.environments.locks import Environment

CHECKOUT = Path(__file__).resolve().parents[1]
START_S = 240.0
_QUANTISERS = ("onnx", "onnxruntime.quantization", "openvino", "nncf")
LIBRARIES = {
    "control": (
        "alembic",
        "great_expectations",
        "matplotlib.figure",
        "mlflow",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "pandas",
        "prefect.flow_engine",
        "pyarrow.parquet",
        "scipy.stats",
        "sqlalchemy",
        "tritonclient.grpc",
        "tritonclient.http",
        "pipelines.convert",
        "pipelines.gate",
        "pipelines.promote",
        "pipelines.register",
        "cli.main",
    ),
    "converter": (
        "torch",
        "torch.onnx",
        *(
            f"transformers.models.{name}.modeling_{name}"
            for name in ("whisper", "wav2vec2", "marian", "t5", "llama", "qwen2")
        ),
        "sentencepiece",
        *_QUANTISERS,
    ),
    "keras": ("keras", "tf2onnx", *_QUANTISERS),
}
_HOLD = b"hold"
_HELD: dict[str, socket.socket] = {}

_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
asked = {{"arguments": sys.argv[1:], "variables": dict(os.environ), "folder": os.getcwd()}}
text = json.dumps(asked).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(text)
    code = int(server.recv(16) or b"70")
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def warm(environment: Environment) -> Path:
    """An executable to call as `environment`'s Python, with `-m`, `-c` or a script's path."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")[:12]
    folder = Path(tempfile.gettempdir()) / f"sluice-warm-{environment.name}-{run}"
    if environment.name not in _HELD:
        _HELD[environment.name] = _hold(folder) or _start(environment, folder)
    return folder / "python"


def run(
    environment: Environment, *arguments: str, folder: Path | None = None, timeout_s: float = 200
) -> str:
    """What a Python of `environment` prints: a script's path, or `-c` and a program, with words.

    A warm one where there is one, started in `folder`; this checkout is importable.
    """
    from registry.quiet import QUIET_ENVIRONMENT

    python = warm(environment) if environment.name in LIBRARIES else environment.python
    done = subprocess.run(
        [str(python), *arguments],
        env=QUIET_ENVIRONMENT
        | {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(CHECKOUT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _hold(folder: Path) -> socket.socket | None:
    """A connection that keeps the process alive; None where there is no process."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(START_S)
    try:
        connection.connect(str(folder / "socket"))
        connection.sendall(_HOLD)
        if connection.recv(len(_HOLD)) == _HOLD:
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _start(environment: Environment, folder: Path) -> socket.socket:
    import filelock

    from registry.quiet import QUIET_ENVIRONMENT

    with filelock.FileLock(f"{folder}.lock", timeout=START_S):
        if found := _hold(folder):
            return found
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        client = folder / "python"
        client.write_text(
            _CLIENT.format(python=sys.executable, address=str(folder / "socket")), encoding="utf-8"
        )
        client.chmod(client.stat().st_mode | stat.S_IXUSR)
        subprocess.run(
            [str(environment.python), __file__, str(folder), *LIBRARIES[environment.name]],
            env=QUIET_ENVIRONMENT
            | {
                "PATH": "/usr/bin:/bin",
                "HOME": str(folder),
                # As conversions have them; they are read as libraries are imported.
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONNOUSERSITE": "1",
                "PYTHONHASHSEED": "0",
                "USE_TF": "0",
                "KERAS_BACKEND": "tensorflow",
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "CUDA_VISIBLE_DEVICES": "",
                # As `sluice` sets it before it imports Prefect.
                "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
                # Two threads on the cores of several test processes wait for each other.
                "OMP_NUM_THREADS": "1",
            },
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=START_S,
        )
        held = _hold(folder)
        Path(f"{folder}.lock").unlink()
    assert held, (folder / "words").read_text()
    return held


def main(folder: Path, libraries: Sequence[str]) -> None:
    """Listen in the background until nobody holds on any more."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    if os.fork():
        os._exit(0)
    os.setsid()
    words = os.open(folder / "words", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(words, 1)
    os.dup2(words, 2)
    # What lies beside this file is nobody's to import.
    sys.path[0] = str(folder)
    for name in libraries:
        importlib.import_module(name)
    # Collecting would copy in every fork what all of them share.
    gc.freeze()
    # The kernel takes the dead away.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    holders = {_accepted(listener)}
    while holders := holders - {None}:
        ready, _, _ = select.select([listener, *holders], [], [])
        if listener in ready:
            holders.add(_accepted(listener))
        for holder in holders.intersection(ready):
            if not holder.recv(1):
                holder.close()
                holders.remove(holder)
    shutil.rmtree(folder, ignore_errors=True)


def _accepted(listener: socket.socket) -> Any:
    """The next connection if it is one to hold; a program is begun and gives None."""
    connection, _ = listener.accept()
    start, files, _, _ = socket.recv_fds(connection, 4, 3)
    if start == _HOLD:
        connection.sendall(_HOLD)
        return connection
    if os.fork() == 0:
        listener.close()
        _watch(connection, int.from_bytes(start, "big"), files)
    connection.close()
    for file in files:
        os.close(file)
    return None


def _watch(connection: socket.socket, size: int, files: Sequence[int]) -> NoReturn:
    """Run the program as a child, and end it when its caller has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text = b""
    while len(text) < size:
        text += connection.recv(size - len(text))
    child = os.fork()
    if child == 0:
        _become(json.loads(text), files)
    for file in (*files, 1, 2):
        os.close(file)
    select.select([os.pidfd_open(child), connection], [], [])
    for end in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            end(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):
        connection.sendall(str(code).encode())
    os._exit(0)


def _become(asked: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Be a Python that was just started so."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 256)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    tempfile.tempdir = None
    option, *rest = asked["arguments"]
    sys.path[0] = str(Path(option).parent) if not option.startswith("-") else asked["folder"]
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(":"))
    code = 0
    try:
        _run(option, rest)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if not isinstance(ended.code, int | None):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - as an interpreter ends
        traceback.print_exc()
        code = 1
    # What an interpreter does at its end, but for taking all that was imported apart.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(option: str, rest: list[str]) -> None:
    if option == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)  # noqa: S102
    else:
        sys.argv = [option, *rest]
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
