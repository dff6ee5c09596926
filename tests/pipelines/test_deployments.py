"""`prefect.yaml` deploys the flows to a work pool, and a worker runs one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from infra.work_pools import template

from .conftest import CHECKOUT, GRID, MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
PREFECT = Path(sys.executable).parent / "prefect"


def test_a_worker_runs_a_deployed_flow(home: Home, tmp_path: Path) -> None:
    environment = os.environ | {
        "PREFECT_API_URL": home.json("status")["addresses"]["prefect"] + "/api",
        "PREFECT_HOME": str(tmp_path),
        "SLUICE_ACTOR": "worker",
    }

    def prefect(*arguments: str) -> str:
        done = subprocess.run(
            [PREFECT, *arguments],
            env=environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    made = [sys.executable, "-m", "infra.work_pools", "create", "process"]
    subprocess.run(made, env=environment, cwd=CHECKOUT, check=True, timeout=120)
    url = f"{environment['PREFECT_API_URL']}/work_pools/sluice"
    assert httpx.get(url, timeout=10).json()["base_job_template"] == template("process", {})
    deployed = prefect("--no-prompt", "deploy", "--all")
    assert deployed.count("successfully created") == 7
    source = GRID / "models" / "whisper-grid"
    given = {"workspace": home.root, "model": MODEL, "source": source}
    parameters = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    prefect("deployment", "run", "register/sluice", *parameters)
    prefect("worker", "start", "--pool", "sluice", "--run-once")
    asked = {"flow_runs": {"deployment_id": {"is_null_": False}}}
    url = f"{environment['PREFECT_API_URL']}/flow_runs/filter"
    runs = httpx.post(url, json=asked, timeout=10).json()
    assert [run["state_type"] for run in runs] == ["COMPLETED"], runs
