"""What CI is told to run can be run: each `sluice` line of its files is a command that exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.main import get_command

from cli.main import app
from infra.environments.locks import ENVIRONMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
ACTION = CHECKOUT / "action.yml"
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
JENKINSFILE = CHECKOUT / "Jenkinsfile"
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
# Loaded as YAML 1.1, the key `on` is the value true.
ON: Any = True


def load(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def steps(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job.get("steps", ())]


def scripts() -> Iterator[tuple[str, str]]:
    for path in (ACTION, *WORKFLOWS):
        for step in steps(path):
            if "run" in step:
                yield path.name, step["run"]
    for script in re.findall(r"sh '(.*)'", JENKINSFILE.read_text()):
        yield JENKINSFILE.name, script


def sluice_lines() -> list[str]:
    found = []
    for name, script in scripts():
        for line in script.splitlines():
            words = shlex.split(line)
            if "sluice" in words:
                found.append(f"{name}: {shlex.join(words[words.index('sluice') + 1 :])}")
    return found


def test_every_file_that_ci_reads_gates_something() -> None:
    assert {line.partition(":")[0] for line in sluice_lines()} == {"action.yml", "Jenkinsfile"}


@pytest.mark.parametrize("line", sluice_lines())
def test_every_command_can_be_typed(line: str) -> None:
    words = shlex.split(line.partition(": ")[2])
    # What a shell takes for itself: the array of options, redirections and what follows.
    ends = [words.index(mark) for mark in (">", "||") if mark in words]
    words = [word for word in words[: min(ends, default=None)] if not word.startswith("${options")]
    known = get_command(app).commands  # type: ignore[attr-defined]  # the app is a group
    known[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("option", ["--variant", "--artifact"])
def test_options_that_the_action_adds_are_the_gates(option: str) -> None:
    assert option in ACTION.read_text()
    gate = get_command(app).commands["gate"]  # type: ignore[attr-defined]  # the app is a group
    assert option in {name for parameter in gate.params for name in parameter.opts}


def test_what_is_installed_and_made_exists() -> None:
    text = "\n".join(script for _, script in scripts())
    installed = re.findall(r"infra\.environments ((?:[a-z]+ ?)+)", text)
    assert len(installed) == 3
    known = {environment.name for environment in ENVIRONMENTS}
    assert set(" ".join(installed).split()) <= known
    targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", text)) == {"test"}
    assert "test" in targets


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_no_input_is_pasted_into_a_shell(path: Path) -> None:
    assert steps(path)
    for step in steps(path):
        assert not EXPRESSION.search(step.get("run", "")), "hand it over in `env`"


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_every_expression_names_what_is_there(path: Path) -> None:
    document = load(path)
    inputs = document.get("inputs") or (document[ON].get("workflow_call") or {}).get("inputs", {})
    ids = {step["id"] for step in steps(path) if "id" in step}
    for expression in EXPRESSION.findall(path.read_text()):
        scope, _, rest = expression.partition(".")
        name = rest.split(".")[0]
        if scope == "inputs":
            assert name in inputs
        elif scope == "steps":
            assert name in ids
        else:
            assert scope in {"github", "runner", "jobs"}


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_actions_are_githubs_or_ours_with_a_version(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+|\./\.sluice-action", step["uses"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_ask_for_no_rights_and_end(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in document["jobs"].values())


def test_the_reusable_workflow_hands_the_action_what_it_takes() -> None:
    action, workflow = load(ACTION), load(CHECKOUT / ".github/workflows/gate.yml")
    called = workflow["jobs"]["gate"]["steps"][-1]["with"]
    assert set(called) == set(action["inputs"])
    assert set(called) <= set(workflow[ON]["workflow_call"]["inputs"])


def test_examples_in_the_page_use_inputs_that_exist() -> None:
    page = (CHECKOUT / "docs/how-to/ci.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    step = next(step for step in blocks[0] if step["uses"].startswith("OWNER/sluice@"))
    inputs = load(ACTION)["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, facts in inputs.items() if facts.get("required")} <= set(step["with"])
    job = blocks[1]["jobs"]["gate"]
    place = job["uses"].removeprefix("OWNER/sluice/").partition("@")[0]
    taken = load(CHECKOUT / place)[ON]["workflow_call"]["inputs"]
    assert set(job["with"]) <= set(taken)


@pytest.mark.parametrize("model", ["speech", "a b; touch $PWD/touched", "--help", ""])
def test_the_actions_script_ends_as_the_gate_does(tmp_path: Path, model: str) -> None:
    script = next(step["run"] for step in steps(ACTION) if step.get("id") == "gate")
    outputs, report = tmp_path / "outputs", tmp_path / "report"
    values = {
        "GITHUB_ACTION_PATH": str(CHECKOUT),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "REPORT": str(report),
        "SLUICE_WORKSPACE": str(tmp_path),
        "MODEL": model,
        "VARIANTS": "onnx-int8 *",
        "ARTIFACT": "",
    }
    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607
        env=os.environ | values,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # No workspace is there: the gate refuses, and so does the step.
    assert ran.returncode == 2
    assert outputs.read_text() == f"report={report}\nverdict=error\n"
    assert not (tmp_path / "touched").exists()
