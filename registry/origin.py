"""Where an entry of the journal comes from: this host and process, and the CI run it works for.

These are facts that the process states about itself. They help somebody who looks for what
happened; they prove nothing against somebody who wants to hide it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_URL = 500
"""Characters of a CI run's address that are kept."""


def process_origin(environment: Mapping[str, str] | None = None) -> dict[str, str | int]:
    """`host`, `process` (its id) and, in a CI job, `run` (the address of the job's page)."""
    found: dict[str, str | int] = {"host": socket.gethostname(), "process": os.getpid()}
    run = ci_run(os.environ if environment is None else environment)
    return found | {"run": run} if run else found


def ci_run(environment: Mapping[str, str]) -> str:
    """The page of the GitHub Actions, Jenkins or GitLab job that this is; empty outside of them.

    A name or password inside the address is left out.
    """
    number, repository = environment.get("GITHUB_RUN_ID"), environment.get("GITHUB_REPOSITORY")
    if number and repository:
        server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
        return _plain(f"{server}/{repository}/actions/runs/{number}")
    return _plain(environment.get("BUILD_URL") or environment.get("CI_JOB_URL") or "")


def _plain(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not url.isprintable():
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:MAX_URL]
