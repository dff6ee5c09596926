"""Workflows and actions are well-formed, ask for little, end, and name what exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.environments.locks import ENVIRONMENTS

from .ci_files import (
    ACTION,
    ACTIONS,
    CHECKOUT,
    EXPRESSION,
    GITHUB,
    GITLAB,
    ON,
    SCRIPTS,
    WORKFLOWS,
    jobs,
    load,
    named,
    shell_texts,
    steps,
)
from .typed import error_of, parse

TRUSTED = re.compile(
    r"actions/[a-z-]+@v\d+"
    r"|pypa/gh-action-pypi-publish@release/v1"
    r"|\./\.sluice-action(/\.github/actions/[a-z]+)?"
)
FORMATS = [(path, "github-workflows") for path in WORKFLOWS]
FORMATS += [(path, "github-actions") for path in ACTIONS]
FORMATS += [(GITHUB / "dependabot.yml", "dependabot"), (GITLAB, "gitlab-ci")]
BOTH = [*WORKFLOWS, *ACTIONS]


@pytest.mark.parametrize(("path", "schema"), FORMATS, ids=lambda given: Path(given).name)
def test_each_file_is_what_its_schema_says(path: Path, schema: str) -> None:
    # It is there for its files alone; its own program is not needed.
    found = importlib.util.find_spec("check_jsonschema")
    if found is None or found.origin is None:
        pytest.skip("the schemas come with it: pip install check-jsonschema")
    from jsonschema import Draft7Validator

    place = Path(found.origin).parent / "builtin_schemas" / "vendor" / f"{schema}.json"
    validator = Draft7Validator(json.loads(place.read_text()))
    # In YAML 1.2, which CI reads, `on` is a word.
    document = {"on" if key is True else key: value for key, value in load(path).items()}
    wrong = [
        f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)
    ]
    assert not wrong
    spoiled = {**document, "jobs": 1, "runs": 1, "updates": 1, "stages": 1}
    assert not validator.is_valid(spoiled), "the schema refuses something"


def test_there_is_a_workflow_for_each_thing() -> None:
    assert {path.stem for path in WORKFLOWS} == {
        "ci",
        "comment",
        "fresh",
        "gate",
        "images",
        "promote",
        "release",
        "rollback",
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=named)
def test_every_job_has_few_rights_and_an_end(path: Path) -> None:
    document = load(path)
    assert document["permissions"] in ({}, {"contents": "read"})
    assert "cancel-in-progress" in document["concurrency"]
    for job in document["jobs"].values():
        assert "timeout-minutes" in job
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert writes <= WRITES.get(path.stem, set())


WRITES = {
    "comment": {"pull-requests"},
    "images": {"packages", "id-token", "attestations"},
    "promote": {"id-token"},
    "release": {"contents", "id-token", "attestations"},
    "rollback": {"id-token"},
}


def test_a_job_of_a_release_has_only_what_its_one_thing_needs() -> None:
    rights = {
        name: {right for right, level in job["permissions"].items() if level == "write"}
        for name, job in jobs(GITHUB / "workflows" / "release.yml").items()
    }
    assert rights == {
        "build": set(),
        "attest": {"id-token", "attestations"},
        "pypi": {"id-token"},
        "github": {"contents"},
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=named)
def test_what_a_stranger_can_start_holds_no_secret(path: Path) -> None:
    document, text = load(path), path.read_text()
    assert "pull_request_target" not in document[ON]
    if "pull_request" in document[ON]:
        assert "secrets." not in text
        assert "write" not in json.dumps([job["permissions"] for job in jobs(path).values()])
    for step in steps(path):
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", ["comment", "gate"])
def test_forks_are_looked_at(path: str) -> None:
    text = (GITHUB / "workflows" / f"{path}.yml").read_text()
    assert "github.event.pull_request.head.repo.full_name" in text


def test_a_rollout_is_never_cut_off_by_the_next_run() -> None:
    for name in ("promote", "rollback", "release", "images"):
        document = load(GITHUB / "workflows" / f"{name}.yml")
        assert document["concurrency"]["cancel-in-progress"] is False
    groups = {
        load(GITHUB / "workflows" / f"{name}.yml")["concurrency"]["group"]
        for name in ("promote", "rollback")
    }
    assert len(groups) == 2, "a way back does not queue behind a promotion"


@pytest.mark.parametrize("path", BOTH, ids=named)
def test_no_input_is_pasted_into_a_shell(path: Path) -> None:
    assert steps(path)
    for step in steps(path):
        assert not EXPRESSION.search(step.get("run", "")), "hand it over in `env`"


@pytest.mark.parametrize("path", BOTH, ids=named)
def test_every_expression_names_what_is_there(path: Path) -> None:
    document = load(path)
    called = (
        document[ON].get("workflow_call") or {} if "on" not in document and ON in document else {}
    )
    inputs = document.get("inputs") or called.get("inputs", {})
    secrets = called.get("secrets", {})
    ids = {step["id"] for step in steps(path) if "id" in step}
    for expression in EXPRESSION.findall(path.read_text()):
        for scope, rest in re.findall(r"\b([a-z]+)\.([\w.-]+)", expression):
            name = rest.split(".")[0]
            known = {"inputs": inputs, "secrets": secrets, "steps": ids}.get(scope)
            if known is None:
                assert scope in {"github", "runner", "jobs", "matrix"}, expression
            else:
                assert name in known, expression


@pytest.mark.parametrize("path", BOTH, ids=named)
def test_actions_are_few_and_have_a_version(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert TRUSTED.fullmatch(step["uses"]), step["uses"]


def sluice_lines() -> list[str]:
    """File and words of each `sluice` that any CI runs."""
    found = []
    for name, texts in shell_texts().items():
        for line in "\n".join(texts).splitlines():
            if re.match(r"\s*(\S*=\S+ +|if .*then +)?(\.venv/bin/)?sluice ", line):
                words = line.partition("sluice ")[2]
                found.append(f"{name}: {words}")
    return found


@pytest.mark.parametrize("line", sluice_lines())
def test_every_command_can_be_typed(line: str) -> None:
    words = shlex.split(line.partition(": ")[2])
    # What a shell takes for itself: arrays of options, redirections and what follows.
    marks = (">", "2>&1", "||", "|", ";", "|| true;")
    ends = [words.index(mark) for mark in marks if mark in words]
    words = [word for word in words[: min(ends, default=None)] if not word.startswith("${options")]
    assert not (wrong := error_of([word.removesuffix(";") for word in words])), wrong


def test_commands_of_every_ci_were_found() -> None:
    found = {line.partition(":")[0] for line in sluice_lines()}
    assert {named(path) for path in SCRIPTS} <= found
    assert {".github/workflows/ci.yml", "infra/jenkins/vars/sluicePromote.groovy"} <= found
    assert len(sluice_lines()) >= 9


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_options_that_a_script_adds_are_its_commands(script: Path) -> None:
    added = re.findall(r"options\+=\((--[a-z-]+) ", script.read_text())
    assert len(added) >= 2
    command = parse([script.stem], named_only=True).command
    assert set(added) <= {name for parameter in command.params for name in parameter.opts}


def test_what_is_installed_made_and_called_exists() -> None:
    texts = shell_texts()
    text = "\n".join(line for lines in texts.values() for line in lines)
    installed = re.findall(r"infra\.environments ((?:[a-z]+\b ?)+)", text)
    assert len(installed) >= 5
    known = {environment.name for environment in ENVIRONMENTS}
    assert set(" ".join(installed).split()) <= known
    targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert {"test", "lock"} == set(re.findall(r"\bmake ([a-z]+)", text)) <= set(targets)
    for module in set(re.findall(r"python -m ([a-z.]+)", text)) - {"pip"}:
        assert importlib.util.find_spec(module), module
    for place in re.findall(r"(?:infra|tests)/[\w./-]+\w", text):
        assert (CHECKOUT / place).exists() or list(CHECKOUT.glob(place)), place
    for place in re.findall(r"GITHUB_ACTION_PATH/(?:\.\./)*([\w./-]+\.(?:py|sh))", text):
        beside = list((GITHUB / "actions").rglob(Path(place).name))
        assert (CHECKOUT / place).exists() or beside, place


@pytest.mark.parametrize("name", ["gate", "promote", "rollback"])
def test_a_reusable_workflow_hands_its_action_what_it_takes(name: str) -> None:
    path = GITHUB / "workflows" / f"{name}.yml"
    (job,) = jobs(path).values()
    last = job["steps"][-1]
    place = last["uses"].removeprefix("./.sluice-action").strip("/")
    action = load(CHECKOUT / place / "action.yml")
    assert set(last["with"]) <= set(action["inputs"])
    taken = load(path)[ON]["workflow_call"]["inputs"]
    assert set(last["with"]) <= set(taken)
    assert {one for one, facts in action["inputs"].items() if facts.get("required")} <= set(
        last["with"]
    )
    assert set(job["outputs"]) == set(action["outputs"]) & set(job["outputs"])


@pytest.mark.parametrize("name", ["sluice-gate", "sluice-promote", "sluice-rollback"])
def test_no_input_has_another_default_in_the_workflow(name: str) -> None:
    stem = name.removeprefix("sluice-")
    action = load(ACTION if stem == "gate" else GITHUB / "actions" / stem / "action.yml")
    taken = load(GITHUB / "workflows" / f"{stem}.yml")[ON]["workflow_call"]["inputs"]
    for one in set(action["inputs"]) & set(taken) - {"audience"}:
        assert str(action["inputs"][one].get("default")) == str(taken[one].get("default")), one


def test_examples_in_the_page_use_inputs_that_exist() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "ci.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    seen: set[str] = set()
    for block in blocks:
        for used, given in uses(yaml.safe_load(block)):
            place = used.removeprefix("OWNER/sluice").strip("/").partition("@")[0]
            if place.endswith(".yml"):
                call = load(CHECKOUT / place)[ON]["workflow_call"]
                taken = call["inputs"]
                assert set(given.get("secrets", {})) <= set(call.get("secrets", {})), used
            else:
                taken = load(CHECKOUT / place / "action.yml")["inputs"]
            assert set(given.get("with", {})) <= set(taken), used
            needed = {name for name, facts in taken.items() if facts.get("required")}
            assert needed <= set(given.get("with", {})), used
            seen.add(place)
    assert {"", *(f".github/workflows/{name}.yml" for name in CALLED)} <= seen


CALLED = ("comment", "gate", "promote", "rollback")


def uses(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Everything of ours that an example uses, with the step or job that does."""
    if isinstance(value, list):
        return [found for one in value for found in uses(one)]
    if not isinstance(value, dict):
        return []
    mine = str(value.get("uses", ""))
    own = [(mine.replace("@", "/@", 1) if mine.startswith("OWNER/sluice@") else mine, value)]
    return (own if mine.startswith("OWNER/sluice") else []) + uses(list(value.values()))
