"""A real Prometheus that scrapes one address every second."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
import stamina

from infra.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="Prometheus is not installed: apt-get install prometheus",
)


@contextlib.contextmanager
def prometheus(
    folder: Path,
    target: str,
    *,
    path: str = "/metrics",
    rules: Path | None = None,
) -> Iterator[str]:
    """Its address, once it answers. What it scrapes at `target` has `place="here"`."""
    (port,) = free_ports(1)
    settings = folder / "prometheus.yml"
    settings.write_text(
        f"""
        global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
        rule_files: [{f'"{rules}"' if rules else ""}]
        scrape_configs:
          - job_name: tested
            metrics_path: {path}
            static_configs:
              - {{targets: ["{urlsplit(target).netloc}"], labels: {{place: here}}}}
        """
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(shutil.which("prometheus")),
                f"--config.file={settings}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        await_answer(f"{address}/-/ready")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@stamina.retry(
    on=(httpx.TransportError, AssertionError),
    attempts=None,
    timeout=30,
    wait_initial=0.05,
    wait_max=0.2,
)
def await_answer(url: str) -> None:
    """Return when the address answers 200; fail when it does not within 30 s."""
    assert httpx.get(url, timeout=5, trust_env=False).status_code == 200, url
