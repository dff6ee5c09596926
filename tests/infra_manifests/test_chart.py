"""The chart is what the Kustomize base says, and nothing else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from infra.kubernetes.chart_source import CHART, chart, sources

from .rendering import HELM, VALUES, kustomized, templated, with_values

if TYPE_CHECKING:
    from pathlib import Path


def test_made_again_it_is_the_same_bytes() -> None:
    made = chart()
    assert {name: (CHART / name).read_text() for name in made} == made, (
        "run `python -m infra.kubernetes.chart_source`"
    )
    there = {f"templates/{path.name}" for path in (CHART / "templates").iterdir()}
    assert there == set(made) - {"values.yaml"}


def test_no_two_sources_make_one_template() -> None:
    names = [path.name for path in sources()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("folder", VALUES)
def test_helm_and_kustomize_make_the_same_objects(folder: str) -> None:
    assert with_values(*VALUES[folder]) == kustomized(folder)


def test_the_drift_watch_is_the_same_too() -> None:
    name = "Deployment/drift-watch-whisper-grid"
    watched = templated("--set", "driftWatch.models={whisper-grid,lips}")
    assert watched[name] == kustomized("drift-watch")[name]
    other = watched["Deployment/drift-watch-lips"]
    assert other["spec"]["template"]["spec"]["containers"][0]["args"][0] == "lips"
    assert "whisper-grid" not in yaml.safe_dump(other)


def test_another_namespace_reaches_every_object() -> None:
    moved = templated(
        *("--set", "namespace.name=speech", "--set", "postgresql.enabled=true"),
        *("--set", "driftWatch.models={lips}", "--set", "quota.pods=9"),
    )
    assert "Namespace/speech" in moved
    assert {one["metadata"].get("namespace", "speech") for one in moved.values()} == {"speech"}
    bound = [one for one in moved.values() if one["kind"] == "RoleBinding"]
    assert {subject["namespace"] for one in bound for subject in one["subjects"]} == {"speech"}
    worker = yaml.safe_dump(moved["Deployment/worker"])
    assert worker.count("value: speech") == 2


def test_every_value_does_something(tmp_path: Path) -> None:
    """Each leaf of values.yaml, changed to a mark of its own, shows in what is rendered."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    switches = {"namespace.create", "postgresql.enabled"}
    marks: dict[str, str] = {}

    def mark(node: object, path: str) -> object:
        if isinstance(node, dict) and node and path != "quota":
            return {key: mark(one, f"{path}.{key}".strip(".")) for key, one in node.items()}
        if path in switches:
            return True
        made = marks[path] = f"mark-{len(marks)}"
        if path.endswith("annotations"):
            return {"example": made}
        return [made] if path == "driftWatch.models" else made

    changed = tmp_path / "values.yaml"
    changed.write_text(yaml.safe_dump(mark(values, "")))
    done = subprocess.run(
        [HELM, "template", "x", str(CHART), "--values", str(changed)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert len(marks) > 20
    assert [path for path, one in marks.items() if one not in done.stdout] == []


def test_helm_finds_nothing_to_say() -> None:
    done = subprocess.run(
        [HELM, "lint", "--strict", str(CHART)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
