"""The parts that every CI shares, run as a CI runs them: with the real `sluice`, which refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .ci_files import ACTION, CHECKOUT, GITHUB, GITLAB, GROOVY, SCRIPTS, load, steps

RESULTS = {"gate": "verdict", "promote": "outcome", "rollback": "outcome"}
GIVEN = {
    "gate": {"VARIANTS": "onnx-int8 *", "ARTIFACT": ""},
    "promote": {
        "RELEASE": "3",
        "VARIANT": "",
        "REASON": "a; touch $PWD/touched",
        "WAIT_MINUTES": "0",
    },
    "rollback": {"TO": "2", "REASON": "it's `bad`"},
}
PROGRAMS = Path(sys.executable).parent


def run(text: str, folder: Path, **values: str) -> subprocess.CompletedProcess[str]:
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],  # noqa: S607
        env=os.environ | {"PATH": path} | values,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_refusal_is_exit_2_and_leaves_a_summary(tmp_path: Path, script: Path) -> None:
    report = tmp_path / "a report"
    report.mkdir()
    (report / "of-before").touch()
    values = GIVEN[script.stem] | {"MODEL": "--help", "REPORT": str(report)}
    ran = run(f"bash {script}", tmp_path, SLUICE_WORKSPACE=str(tmp_path), **values)
    assert ran.returncode == 2, ran.stderr
    # No workspace is there. It is said to whoever reads the log, and to whoever reads the summary.
    assert "sluice init" in ran.stderr
    assert "sluice init" in (report / "summary.md").read_text()
    assert (report / "summary.md").read_text().startswith("### ")
    assert (report / RESULTS[script.stem]).read_text() == "error\n"
    assert not (report / "of-before").exists()
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_without_its_model_runs_nothing(tmp_path: Path, script: Path) -> None:
    ran = run(f"unset MODEL; bash {script}", tmp_path, REPORT=str(tmp_path / "report"))
    assert ran.returncode != 0
    assert "MODEL" in ran.stderr


def test_every_exit_code_has_its_word() -> None:
    """As docs/how-to/ci.md tells them; a rollback has no 1."""
    words = {}
    for script in SCRIPTS:
        found = re.findall(r"^  (\d|\*)\) \w+=([a-z-]+) ;;$", script.read_text(), re.MULTILINE)
        words[script.stem] = dict(found)
    assert words == {
        "gate": {"0": "pass", "1": "fail", "3": "inconclusive", "*": "error"},
        "promote": {"0": "promoted", "1": "turned-back", "3": "waits-for-a-person", "*": "error"},
        "rollback": {"0": "rolled-back", "3": "waits-for-a-person", "*": "error"},
    }


def asked(script: Path) -> set[str]:
    """Variables that a script reads and does not set."""
    text = re.sub(r"^#.*$", "", script.read_text(), flags=re.MULTILINE)
    return set(re.findall(r"\$\{?([A-Z][A-Z_]+)", text)) - {"PIPESTATUS"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_ci_hands_a_script_what_it_asks_for(script: Path) -> None:
    name = script.stem
    action = ACTION if name == "gate" else GITHUB / "actions" / name / "action.yml"
    step = next(step for step in steps(action) if step.get("id") == name)
    assert asked(script) <= set(step["env"])
    (groovy,) = [path for path in GROOVY if path.stem.lower() == f"sluice{name}"]
    assert asked(script) <= set(re.findall(r'^    "([A-Z_]+)=', groovy.read_text(), re.MULTILINE))
    assert {"REPORT"} == set(load(GITLAB)[f".sluice-{name}"]["variables"])


@pytest.mark.parametrize("name", ["gate", "promote", "rollback"])
def test_an_actions_step_ends_as_its_script_does(tmp_path: Path, name: str) -> None:
    action = ACTION if name == "gate" else GITHUB / "actions" / name / "action.yml"
    text = next(step["run"] for step in steps(action) if step.get("id") == name)
    outputs, summary, report = (tmp_path / part for part in ("outputs", "summary", "report"))
    values = GIVEN[name] | {
        "GITHUB_ACTION_PATH": str(action.parent),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
        "REPORT": str(report),
        "MODEL": "a b; touch $PWD/touched",
        "SLUICE_WORKSPACE": str(tmp_path),
    }
    ran = run(text, tmp_path, **values)
    assert ran.returncode == 2, ran.stderr
    assert f"{RESULTS[name]}=error\n" in outputs.read_text()
    assert summary.read_text() == (report / "summary.md").read_text()
    assert not (tmp_path / "touched").exists()
    assert CHECKOUT.exists()
