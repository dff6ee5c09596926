"""The project's CI files, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
GITHUB = CHECKOUT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTION = CHECKOUT / "action.yml"
ACTIONS = [ACTION, *sorted((GITHUB / "actions").glob("*/action.yml"))]
SCRIPTS = sorted((CHECKOUT / "infra" / "ci").glob("*.sh"))
GROOVY = sorted((CHECKOUT / "infra" / "jenkins" / "vars").glob("*.groovy"))
JENKINSFILES = [CHECKOUT / "Jenkinsfile", CHECKOUT / "infra" / "jenkins" / "Jenkinsfile.example"]
GITLAB = CHECKOUT / "infra" / "gitlab" / "sluice.gitlab-ci.yml"
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}", re.DOTALL)
# Loaded as YAML 1.1, the key `on` is the value true.
ON: Any = True


def load(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job.get("steps", ())]


def shell_texts() -> dict[str, list[str]]:
    """What any CI is told to run, by file."""
    found = {named(path): [one["run"] for one in steps(path) if "run" in one] for path in WORKFLOWS}
    found |= {named(path): [one["run"] for one in steps(path) if "run" in one] for path in ACTIONS}
    found |= {named(path): [path.read_text()] for path in SCRIPTS}
    for path in (*GROOVY, *JENKINSFILES):
        found[named(path)] = re.findall(r"(?:\bsh|script:) '(.*)'", path.read_text())
    for job in load(GITLAB).values():
        lines = [*job.get("before_script", ()), *job.get("script", ())]
        found.setdefault(named(GITLAB), []).extend(lines)
    return found


def named(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))
