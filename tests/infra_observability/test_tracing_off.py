"""Nothing is imported, opened or sent where nobody asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import sys
from cli.main import main
sys.argv = ["sluice", "status"]
try:
    main()
except SystemExit:
    pass
print("IMPORTED", sorted({name.partition(".")[0] for name in sys.modules} & {
    "opentelemetry", "requests", "structlog", "prefect", "mlflow"}))
"""


def status(workspace: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "SLUICE_"))
    }
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=kept | {"SLUICE_WORKSPACE": str(workspace)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_imports_nothing_of_tracing_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").touch()
    off = status(tmp_path)
    assert off.stdout.endswith("IMPORTED []\n"), off.stdout + off.stderr
    switched_off = status(
        tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_SDK_DISABLED="true"
    )
    assert switched_off.stdout.endswith("IMPORTED []\n"), switched_off.stdout
