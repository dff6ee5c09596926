"""Nothing phones home: every tool's switch is in one place, and it reaches child processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

# Each read in the tool's own source, at the locked version.
SWITCHES = {
    "prefect (SDK)": ("DO_NOT_TRACK", "1"),
    "prefect (server)": ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
    "mlflow": ("MLFLOW_DISABLE_TELEMETRY", "true"),
    "dvc": ("DVC_NO_ANALYTICS", "1"),
    "great_expectations": ("GX_ANALYTICS_ENABLED", "false"),
    "huggingface_hub": ("HF_HUB_DISABLE_TELEMETRY", "1"),
    "transformers": ("TRANSFORMERS_OFFLINE", "1"),
    "evidently": ("DO_NOT_TRACK", "1"),
    "openvino and nncf": ("CI", "true"),
}
TELEMETRY_NAMES = tuple(name for name in QUIET_ENVIRONMENT if name != "CI")


@pytest.mark.parametrize("tool", sorted(SWITCHES))
def test_every_tool_has_its_switch(tool: str) -> None:
    name, value = SWITCHES[tool]
    assert QUIET_ENVIRONMENT.get(name) == value


def test_switches_are_set_in_one_place_only(checkout: Path, files: tuple[Path, ...]) -> None:
    allowed = {checkout / "registry/quiet.py", checkout / "tests/house/test_quiet.py"}
    code = {".py", ".sh", ".toml", ".yaml", ".yml", ".cfg", ".ini", ""}
    elsewhere = [
        f"{path.relative_to(checkout)}: {name}"
        for path in files
        if checkout / "tests" not in path.parents
        if path not in allowed and path.suffix in code
        for name in TELEMETRY_NAMES
        if name in path.read_text(errors="replace")
    ]
    assert not elsewhere, "set telemetry switches in registry/quiet.py only"


def test_children_inherit_the_switches(checkout: Path) -> None:
    script = (
        "import os, subprocess, sys\n"
        "from registry.quiet import silence\n"
        "silence()\n"
        "command = [sys.executable, '-c', 'import os; print(sorted(os.environ.items()))']\n"
        "print(subprocess.run(command, capture_output=True, text=True).stdout)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=checkout,
        env={},
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    assert all(repr(item) in printed for item in QUIET_ENVIRONMENT.items())
