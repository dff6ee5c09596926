"""The off-switches of every tool under us that would phone home, in one place.

Each was read in the tool's own source; `silence` runs before any of them is imported, and
every child process inherits `QUIET_ENVIRONMENT`.
"""

from __future__ import annotations

import os

QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # OpenVINO and NNCF have no switch of their own but honour this one.
    "CI": "true",
}


def silence_retries() -> None:
    """Let stamina tell nobody of its tries; by default they go to logs, with what was sent."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())


def silence() -> None:
    """Switch telemetry off for this process and its children. Safe to call again."""
    os.environ.update(QUIET_ENVIRONMENT)
