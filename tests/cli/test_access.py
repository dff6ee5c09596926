"""Who may do what, and who did: by the commands, in this process, on a real journal."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import main
from pipelines.approve import require_promotable
from pipelines.assembly import Platform
from registry.access_file import load_access
from registry.cef import severity, to_cef
from registry.errors import UserError
from registry.guard import AccessGuard
from registry.identity import Identity
from registry.journal_entry import Entry
from registry.workspace import Workspace
from tests.pipelines.test_drift_attribution import StagedPlatform
from tests.rollout.stage import MODEL, QUICK, Stage, after

from .test_canary_commands import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.access_file import LoadedPolicy

ACCESS = """
[[grants]]
role = "releaser"
actors = ["rita", "ci"]

[[grants]]
role = "approver"
actors = ["ann", "eve"]

[[grants]]
role = "engineer"
actors = ["eve"]

[[grants]]
role = "on-call"
models = ["speech"]
actors = ["oscar"]
groups = ["sre"]

[production]
approvals = 1
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Release 1 serves; releases 1 and 2, of an artifact that eve registered, are published."""
    (tmp_path / "sluice.toml").touch()
    (tmp_path / "access.toml").write_text(ACCESS)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.toml").write_text(POLICY)
    state = Workspace(tmp_path).state
    state.mkdir()
    stage = Stage.at(state)
    artifact = {"digest": "a" * 64, "version": "1", "run_id": "r"}
    stage.journal.append(MODEL, "artifact-registered", artifact, actor="eve", at=stage.world.now)
    for release in (1, 2):
        body = {"release": release, "variant": "onnx-fp32", "artifact": "a" * 64, "bytes": 1}
        digests = dict.fromkeys(("variant_digest", "report_digest"), "b" * 64)
        body |= digests | {"manifest_digest": f"{release}" * 64}
        stage.journal.append(MODEL, "release-published", body, actor="rita", at=stage.world.now)
    stage.controller().promote(MODEL, 1, QUICK)
    return stage


def guarded(stage: Stage, folder: Path) -> Stage:
    """From now on the journal holds everything against the policy."""
    loaded = load_access(folder / "access.toml")
    guard = AccessGuard(Identity("nobody"), loaded)
    stage.journal._guard = lambda: guard
    return stage


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run_command(*arguments: str, actor: str = "ann") -> tuple[int, str, str]:
        monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
        monkeypatch.setenv("SLUICE_ACTOR", actor)
        monkeypatch.setattr(sys, "argv", ["sluice", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_command


@pytest.mark.parametrize(
    "command", ["whoami", "access", "approve", "audit", "journal verify", "journal anchor"]
)
def test_every_command_has_help_with_an_example(run: Any, command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert f"Example: sluice {command}" in out
    assert "--output" in out
    assert max(map(len, out.splitlines())) <= 80


def test_people_see_who_they_are_and_who_may(stage: Stage, run: Any) -> None:
    assert stage.serving.live == 1
    code, out, _ = run("whoami", actor="oscar")
    assert code == 0
    assert "asserted" in out
    assert f"{MODEL}  on-call" in out
    told = json.loads(run("whoami", "--output", "json", actor="eve")[1])
    assert told["roles"] == {MODEL: ["engineer", "approver"]}
    code, out, _ = run("access", MODEL)
    assert code == 0
    assert "group sre" in out
    assert "1 approval(s) by others than who registered it, each for 24 h" in out
    assert max(map(len, out.splitlines())) <= 80
    rows = json.loads(run("access", "--output", "json")[1])["grants"]
    assert next(row["may"] for row in rows if row["role"] == "on-call") == (
        "roll back, pause, watch drift"
    )
    code, _, err = run("access", "nobody")
    assert (code, err.count("\n")) == (2, 1)


def test_without_a_policy_the_commands_say_that_everybody_may(
    stage: Stage, tmp_path: Path, run: Any
) -> None:
    assert stage.serving.live == 1
    (tmp_path / "access.toml").unlink()
    for command in ("whoami", "access"):
        assert "may do everything" in run(command)[1]


def test_a_release_is_approved_by_somebody_else_before_it_is_promoted(
    stage: Stage, tmp_path: Path, run: Any
) -> None:
    rita = Platform(Workspace(tmp_path), actor="rita")
    before = stage.entries()

    def ask(release: int = 2) -> None:
        require_promotable(rita, MODEL, "", "", release, "")

    with pytest.raises(UserError, match=r"needs 1 more approval; ask .* `sluice approve speech 2`"):
        ask()
    for arguments, actor, line in (
        (("2",), "rita", "rita may not approve: that takes approver"),
        (("2",), "eve", "eve registered this artifact"),
        (("9",), "ann", "no release 9"),
        (("2", "--withdraw"), "ann", "ann has not approved release 2"),
    ):
        code, _, err = run("approve", MODEL, *arguments, actor=actor)
        assert (code, err.count("\n")) == (2, 1)
        assert line in err
    assert stage.entries() == before
    code, out, _ = run("approve", MODEL, "2", "--reason", "listened")
    assert code == 0
    assert "ann: counts" in out
    entry = stage.entries()[-1]
    assert entry.body == {"release": 2, "manifest_digest": "2" * 64, "reason": "listened"}
    assert (entry.actor, entry.origin["known_by"]) == ("ann", "asserted")
    assert len(entry.origin["policy"]) == 12
    ask()
    assert run("approve", MODEL, "2", "--withdraw")[0] == 0
    with pytest.raises(UserError, match="needs 1 more approval"):
        ask()


def test_the_controller_refuses_before_it_takes_the_lease(stage: Stage, tmp_path: Path) -> None:
    guarded(stage, tmp_path)
    lease, before = stage.leases.current(MODEL), stage.entries()
    refused: tuple[tuple[str, Callable[[], object]], ...] = (
        ("eve may not promote", lambda: stage.controller("eve").promote(MODEL, 2, QUICK)),
        ("needs 1 more approval", lambda: stage.controller("rita").promote(MODEL, 2, QUICK)),
        ("eve may not resume", lambda: stage.controller("eve").resume(MODEL)),
        # It never served, so going there is going forward.
        ("oscar may not promote", lambda: stage.controller("oscar").rollback(MODEL, to=2)),
    )
    for expected, act in refused:
        with pytest.raises(UserError, match=expected):
            act()
    assert stage.entries() == before
    assert stage.leases.current(MODEL) == lease


def approve(stage: Stage) -> None:
    body = {"release": 2, "manifest_digest": "2" * 64}
    stage.journal.append(MODEL, "release-approved", body, actor="ann", at=stage.world.now)


def test_on_call_ends_what_a_releaser_began(stage: Stage, tmp_path: Path) -> None:
    guarded(stage, tmp_path)
    approve(stage)

    def go_back() -> None:
        with pytest.raises(UserError, match="eve may not roll back"):
            stage.controller("eve").rollback(MODEL)
        stage.controller("oscar").rollback(MODEL, reason="names")

    # The releaser's controller is fenced off by the way back and by nothing before it.
    with pytest.raises(Exception, match="taken over by oscar"):
        stage.controller("rita", sleep=after(stage, 4, go_back)).promote(MODEL, 2, QUICK)
    assert stage.serving.live == 1
    assert stage.serving.rollout is None
    assert stage.weights == {1: 100}


def test_whoever_goes_on_with_a_rollout_says_for_whom(stage: Stage, tmp_path: Path) -> None:
    guarded(stage, tmp_path)
    approve(stage)

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        stage.controller("rita", sleep=after(stage, 4, die)).promote(MODEL, 2, QUICK)
    left = stage.serving.sequence
    stage.world.now += 100
    assert stage.controller("ci").resume(MODEL).outcome.value == "settled"
    written = [entry for entry in stage.entries() if entry.sequence > left]
    assert {(entry.actor, entry.origin.get("for")) for entry in written} == {("ci", "rita")}


def test_the_watch_goes_back_by_its_case_without_a_releaser(tmp_path: Path) -> None:
    platform = StagedPlatform(tmp_path)  # acts as ann
    guard = [AccessGuard(Identity("ann"), load_policy(tmp_path, "viewer"))]
    platform.journal._guard = lambda: guard[0]
    platform.behave(empty_share={1: 0.04, 2: 0.12})
    with pytest.raises(UserError, match="ann may not watch drift"):
        platform.open_case()
    guard[0] = AccessGuard(Identity("ann"), load_policy(tmp_path, "on-call"))
    began = platform.serving(platform.stage.world.model).sequence
    platform.open_case()
    assert platform.attribute().rolled_back_to == 1
    written = [
        entry
        for entry in platform.journal.read(platform.stage.world.model)
        if entry.sequence > began
    ]
    on_behalf = {entry.kind for entry in written if entry.origin.get("for") == "drift case 1"}
    assert {"rollout-started", "skip-requested", "rollback-requested", "looked"} <= on_behalf
    with pytest.raises(UserError, match="ann may not promote"):
        platform.stage.controller("ann").promote(platform.stage.world.model, 2, QUICK)


def load_policy(folder: Path, role: str) -> LoadedPolicy:
    rule = "[production]\napprovals = 2\nrequire_reason = true\n"
    (folder / "access.toml").write_text(f'[[grants]]\nrole = "{role}"\nactors = ["ann"]\n{rule}')
    return load_access(folder / "access.toml")


def test_what_was_done_is_told_to_people_and_to_machines(stage: Stage, run: Any) -> None:
    known = stage.entries()
    code, out, _ = run("audit", MODEL, "--kind", "release-published")
    assert code == 0
    assert out.count("rita") == 2
    assert max(map(len, out.splitlines())) <= 80
    lines = run("audit", "--format", "jsonl")[1].splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["sequence"] for one in told] == [entry.sequence for entry in known]
    assert told[0]["origin"]["process"] == known[0].origin["process"]
    listed = json.loads(run("audit", "--actor", "eve", "--output", "json")[1])
    assert [one["kind"] for one in listed] == ["artifact-registered"]
    assert run("audit", "--since", "1d", "--format", "cef")[1] == ""
    assert run("audit", "--until", "1970-01-01", "--format", "cef")[1] == ""
    lines = run("audit", "--until", "2000-01-01", "--format", "cef")[1].splitlines()
    assert len(lines) == len(known)
    assert lines[0].startswith("CEF:0|Sluice|Sluice|")
    assert run("audit", "--since", "soon")[0] == 2


def test_a_line_for_a_monitor_keeps_its_fields_apart() -> None:
    body = {"reason": "a=b|c\\d\r\ne"}
    origin = {"host": "h=1", "process": 7, "known_by": "oidc", "for": "drift case 3"}
    entry = Entry(3, "m", "rollback-requested", 1.5, "x=y|z", body, "", "ab", origin)
    line = to_cef(entry, "one\ntwo", "1|2")
    header, extension = line[: line.index("rt=")], line[line.index("rt=") :]
    assert header == "CEF:0|Sluice|Sluice|1\\|2|rollback-requested|rollback requested|7|"
    assert extension == (
        "rt=1500 externalId=m/3 suser=x\\=y|z shost=h\\=1 spid=7 "
        "reason=a\\=b|c\\\\d\\ne msg=one\\ntwo cn1Label=sequence cn1=3 "
        "cs1Label=model cs1=m cs2Label=hash cs2=ab cs3Label=knownBy cs3=oidc "
        "cs4Label=behalfOf cs4=drift case 3"
    )
    assert severity("looked") < severity("rollout-started") < severity("rollback-requested") <= 10


def test_a_changed_journal_is_found_by_the_command(stage: Stage, tmp_path: Path, run: Any) -> None:
    count = len(stage.entries())
    code, out, _ = run("journal", "verify", "--output", "json")
    assert (code, json.loads(out)["journals"][0]["entries"]) == (0, count)
    assert run("journal", "verify", "nobody")[0] == 2
    anchor = tmp_path / "anchor.json"
    assert run("journal", "anchor", str(anchor))[0] == 0
    assert run("journal", "anchor", str(anchor))[0] == 2, "an anchor is never written over"
    assert run("journal", "anchor")[0] == 2
    approve(stage)
    assert run("journal", "verify", "--anchor", str(anchor))[0] == 0
    with closing(sqlite3.connect(tmp_path / ".sluice" / "journal.db")) as connection, connection:
        connection.execute("DROP TRIGGER journal_refuses_delete")
        connection.execute("DELETE FROM journal")
        connection.execute("DELETE FROM journal_head")
    assert run("journal", "verify")[0] == 0, "without an anchor, nothing is as good as never"
    code, out, _ = run("journal", "verify", "--anchor", str(anchor))
    assert code == 1
    assert f"entry {count}, which the anchor names, is gone" in " ".join(out.split())


def test_an_anchor_may_be_a_note_of_the_commit(stage: Stage, tmp_path: Path, run: Any) -> None:
    assert stage.entries()
    code, _, err = run("journal", "anchor", "--git-note")
    assert (code, err.count("\n")) == (2, 1)
    assert "no git repository" in err

    def git(*arguments: str) -> str:
        named = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *named, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    for _ in range(2):
        assert run("journal", "anchor", "--git-note")[0] == 0
    note = tmp_path / "note"
    note.write_text(git("notes", "--ref=sluice", "show", "HEAD"))
    assert note.read_text().count("sluice-journal-anchor-1") == 2
    assert run("journal", "verify", "--anchor", str(note))[0] == 0
