"""What `sluice gate` leaves for CI, what it refuses before it starts, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from cli.gate_command import _worst
from cli.gate_files import GateFiles
from pipelines.assembly import Platform
from pipelines.gate_variants import VariantsToJudge, variants_to_judge
from registry.errors import UserError
from registry.workspace import Workspace
from validation.evidence import Check, GateReport
from validation.verdict import Verdict

from .program import run

DIGEST = "ab" * 32
POLICY = f"""
kind = "ctc-speech"

[convert]
variants = ["onnx-fp32", "openvino-fp16", "onnx-int8"]

[gate]
dataset = "set"
sha256 = "{DIGEST}"
limits.wer = 0.05

[rollout]
"""


def result(verdict: Verdict, variant: str = "onnx-int8", **more: str) -> dict[str, Any]:
    check = Check("wer", "all", verdict, f"wer is {verdict.label}", 0.02, 0.01, 0.03, 0.05)
    report = GateReport(verdict, (check,), {}).to_dict()
    return {"model": "speech", "variant": variant, "report": report, "evidence": "", **more}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    assert run("init", str(root)).returncode == 0
    (root / "models").mkdir(exist_ok=True)
    (root / "models" / "speech.toml").write_text(POLICY)
    return root


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (("--junit", "{}/away/junit.xml"), "its folder {}/away: is no folder"),
        (("--markdown", "{}/away/summary.md"), "its folder {}/away: is no folder"),
        (("--junit", "{}/file/junit.xml"), "cannot be written: Not a directory"),
        (("--junit", "{}"), "is no plain file"),
        (("--markdown", "/dev/null"), "is no plain file"),
        (("--junit", "{}/x", "--markdown", "{}/x"), "name the same file"),
        (("--pages", "{}/away/pages"), "--pages {}/away: is no folder"),
        (("--pages", "{}/file"), "--pages {}/file: is no folder"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_anything(
    workspace: Path, options: tuple[str, ...], refusal: str
) -> None:
    folder = workspace.parent
    (folder / "file").write_text("kept")
    before = sorted(workspace.rglob("*"))
    filled = [option.replace("{}", str(folder)) for option in options]
    ran = run("gate", "speech", *filled, workspace=workspace)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert refusal.replace("{}", str(folder)) in ran.stderr
    assert sorted(workspace.rglob("*")) == before
    assert (folder / "file").read_text() == "kept"


def test_a_folder_that_takes_no_file_is_refused() -> None:
    with pytest.raises(UserError, match=r"junit\.xml: its folder /proc: cannot be"):
        GateFiles(junit=Path("/proc/junit.xml")).refuse_unwritable()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_files_are_written_whatever_the_verdict_is(tmp_path: Path, verdict: Verdict) -> None:
    files = GateFiles(tmp_path / "junit.xml", tmp_path / "summary.md", tmp_path / "pages")
    files.refuse_unwritable()
    files.write([result(verdict), result(Verdict.PASS, "onnx-fp32")])
    suites = etree.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["speech.onnx-int8", "speech.onnx-fp32"]
    summary = (tmp_path / "summary.md").read_text()
    assert f"# Gate: speech onnx-int8: {verdict.label}\n" in summary
    assert "# Gate: speech onnx-fp32: pass\n" in summary
    pages = sorted(path.name for path in (tmp_path / "pages").iterdir())
    assert pages == ["onnx-fp32.html", "onnx-int8.html"]


def test_the_same_results_are_the_same_files(tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        files = GateFiles(folder / "junit.xml", folder / "summary.md", folder / "pages")
        files.write([result(Verdict.FAIL)])
        written.append([p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()])
    assert len(written[0]) == 3
    assert written[0] == written[1]


def test_the_page_that_the_gate_kept_is_the_one_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("with sound")
    GateFiles(pages=tmp_path / "pages").write([result(Verdict.PASS, evidence=str(tmp_path))])
    assert (tmp_path / "pages" / "onnx-int8.html").read_text() == "with sound"


def test_a_steps_summary_is_added_to_and_another_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, other = tmp_path / "step.md", tmp_path / "other.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    for path in (step, other):
        path.write_text("before\n")
        GateFiles(markdown=path).write([result(Verdict.PASS)])
    assert step.read_text() == "before\n" + other.read_text()
    assert other.read_text().startswith("# Gate: speech onnx-int8: pass\n")


def test_the_worst_verdict_counts() -> None:
    assert _worst([result(Verdict.PASS), result(Verdict.INCONCLUSIVE)]).exit_code == 3
    assert _worst([result(Verdict.ERROR), result(Verdict.FAIL)]).exit_code == 1
    assert _worst([result(Verdict.PASS)]).exit_code == 0


def test_an_engine_that_is_away_is_an_error_that_ci_can_show(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    junit = workspace.parent / "junit.xml"
    options = ("-v", "onnx-int8", "--junit", str(junit), "--output", "json")
    ran = run("gate", "speech", *options, workspace=workspace)
    assert ran.returncode == 2
    assert "error: Prefect: " in ran.stderr
    document = json.loads(ran.stdout)
    assert (document["verdict"], document["variant"]) == ("error", "onnx-int8")
    suite = etree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def registered(workspace: Path, *variants: str) -> Platform:
    platform = Platform(Workspace(workspace))
    artifact = {"digest": DIGEST, "version": "1", "run_id": "r"}
    platform.append("speech", "artifact-registered", artifact)
    for variant in variants:
        body = {"digest": f"{variant}-digest", "artifact": DIGEST, "variant": variant}
        body |= {"recipe_key": variant, "format": "onnx", "precision": "fp32", "bytes": 1}
        platform.append("speech", "variant-converted", body)
    return platform


def test_without_a_name_every_converted_variant_of_the_policy_is_judged(workspace: Path) -> None:
    platform = registered(workspace, "onnx-int8", "openvino-int4", "onnx-fp32")
    found = variants_to_judge(platform, "speech")
    assert found == VariantsToJudge(DIGEST, ("onnx-fp32", "onnx-int8"), ("openvino-fp16",))


def test_one_wrong_name_of_several_is_refused_before_any_is_judged(workspace: Path) -> None:
    platform = registered(workspace, "onnx-int8", "onnx-fp32")
    found = variants_to_judge(platform, "speech", "", ["onnx-int8", "onnx-fp32", "onnx-int8"])
    assert found == VariantsToJudge(DIGEST, ("onnx-int8", "onnx-fp32"), ())
    with pytest.raises(UserError, match="has no variant 'onnx-int9'"):
        variants_to_judge(platform, "speech", "", ["onnx-int8", "onnx-int9"])


def test_nothing_converted_is_refused_with_what_to_do(workspace: Path) -> None:
    platform = registered(workspace)
    with pytest.raises(UserError, match="run `sluice convert speech`"):
        variants_to_judge(platform, "speech")
