"""Runs `sluice` in forks of a process that has imported what commands import.

The imports of MLflow and Prefect take most of a short command's time; a fork has them made, and
is a process of its own otherwise: its own environment, folder, output and exit code.

Started with the path of a socket. Each connection sends one command and is answered by the code.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import traceback

WARM = (
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
)


def main(path: str) -> None:
    for name in WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(8)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                _answer(connection)
                return
            connection.close()


def _answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as lines:
        asked = json.loads(lines.readline())
        child = os.fork()
        if child:
            lines.write(f"{child}\n")
            lines.flush()
            _, status = os.waitpid(child, 0)
            lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
            lines.flush()
            os._exit(0)
    _run(asked)


def _run(asked: dict[str, object]) -> None:
    from cli.main import main as sluice

    for descriptor, name in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY
        os.dup2(os.open(str(name), flags), descriptor)
    os.chdir(str(asked["folder"]))
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    sys.argv = ["sluice", *asked["arguments"]]  # type: ignore[misc]
    sluice()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception:  # noqa: BLE001 - nobody is above
        traceback.print_exc()
        sys.exit(3)
