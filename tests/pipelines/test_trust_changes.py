"""Who changed keys and callers is in the journal, on a sequence that no model can have."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import main
from infra.local.callers import Callers
from pipelines.assembly import Platform
from registry.errors import EngineError, UserError
from registry.journal import Journal
from registry.names import WORKSPACE, check_name
from registry.signature import SigningKey
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry.journal import Entry

    Run = Callable[..., tuple[int, str, str]]

ACCESS = """
[[grants]]
role = "admin"
models = ["speech-*"]
actors = ["ann"]

[[grants]]
role = "releaser"
actors = ["rita"]
"""
WHY = ("--reason", "once a year")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "sluice.toml").touch()
    (tmp_path / "access.toml").write_text(ACCESS)
    return Workspace(tmp_path)


@pytest.fixture
def journal(workspace: Workspace) -> Iterator[Journal]:
    with closing(Journal(workspace.journal_url)) as journal:
        yield journal


@pytest.fixture
def run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    def run_command(*arguments: str, actor: str = "ann") -> tuple[int, str, str]:
        monkeypatch.setenv("SLUICE_WORKSPACE", str(workspace.root))
        monkeypatch.setenv("SLUICE_ACTOR", actor)
        monkeypatch.setattr(sys, "argv", ["sluice", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run_command


def told(journal: Journal) -> list[tuple[str, str, str]]:
    return [(one.kind, one.actor, one.body["reason"]) for one in journal.read(WORKSPACE)]


def newest(journal: Journal) -> Entry:
    return journal.read(WORKSPACE)[-1]


def test_every_change_of_a_key_is_told_by_whom_and_why(
    run: Run, journal: Journal, workspace: Workspace
) -> None:
    first = SigningKey.load_or_create(workspace.keys).id
    assert run("keys", "rotate", *WHY)[0] == 0
    second = newest(journal).body["signing"]
    assert second == SigningKey.load_or_create(workspace.keys).id != first
    assert run("keys", "retire", first[:12], "--reason", "its year is over")[0] == 0
    assert run("keys", "revoke", second[:12], "--reason", "laptop lost")[0] == 0
    assert newest(journal).body["key"] == second
    assert newest(journal).body["signing"] == SigningKey.load_or_create(workspace.keys).id
    assert told(journal) == [
        ("key-rotated", "ann", "once a year"),
        ("key-retired", "ann", "its year is over"),
        ("key-revoked", "ann", "laptop lost"),
    ]
    # The journal and the chain of keys name the same versions.
    chain = SigningKey.load_or_create(workspace.keys).chain
    assert [one.body["version"] for one in journal.read(WORKSPACE)] == [2, 3, 4]
    assert chain.newest.version == 4
    # Nothing was signed, so nothing is signed again, and nothing is told.
    assert run("keys", "resign")[0] == 0
    assert len(journal.read(WORKSPACE)) == 3


def test_every_change_of_a_caller_is_told_without_its_token(
    run: Run, journal: Journal, workspace: Workspace
) -> None:
    code, out, _ = run("callers", "add", "asr-app", *WHY, "--output", "json")
    assert code == 0
    given = json.loads(out)
    assert newest(journal).body["id"] == given["id"]
    assert run("callers", "rotate", "--reason", "as agreed")[0] == 0
    assert run("callers", "withdraw", "asr-app", "--reason", "gone")[0] == 0
    assert [kind for kind, _, _ in told(journal)] == [
        "caller-added",
        "caller-key-rotated",
        "caller-withdrawn",
    ]
    written = workspace.state.joinpath("journal.db").read_bytes()
    wal = workspace.state.joinpath("journal.db-wal")
    written += wal.read_bytes() if wal.exists() else b""
    assert given["id"].encode() in written
    assert given["token"].encode() not in written
    assert b"PRIVATE KEY" not in written


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "rotate"),
        ("keys", "retire", "KEY"),
        ("keys", "revoke", "KEY"),
        ("keys", "resign"),
        ("callers", "add", "asr-app"),
        ("callers", "withdraw", "asr-app"),
        ("callers", "rotate"),
    ],
    ids=" ".join,
)
def test_only_an_admin_changes_them(
    run: Run, journal: Journal, workspace: Workspace, command: tuple[str, ...]
) -> None:
    before = SigningKey.load_or_create(workspace.keys).chain.to_json()
    code, _, err = run(*command, actor="rita")
    assert code == 2
    assert "rita may not change keys: that takes admin" in err
    assert err.count("\n") == 1
    assert SigningKey.load_or_create(workspace.keys).chain.to_json() == before
    assert not (workspace.keys / "callers.json").exists()
    assert not journal.read(WORKSPACE)


def test_what_the_journal_cannot_take_is_not_done(
    run: Run, journal: Journal, workspace: Workspace
) -> None:
    key = SigningKey.load_or_create(workspace.keys)
    before = key.chain.to_json()
    with closing(sqlite3.connect(workspace.state / "journal.db")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON journal "
            "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
        database.commit()
    for command in (("keys", "rotate"), ("keys", "revoke", key.id), ("callers", "add", "app")):
        code, out, err = run(*command)
        assert (code, out, err.count("\n")) == (2, "", 1), err
    assert SigningKey.load_or_create(workspace.keys).chain.to_json() == before
    assert not Callers(workspace).tokens()
    assert not journal.read(WORKSPACE)


def test_the_audit_the_check_and_an_anchor_know_the_sequence(
    run: Run, journal: Journal, tmp_path: Path
) -> None:
    assert run("keys", "rotate", *WHY)[0] == 0
    assert run("callers", "add", "asr-app")[0] == 0
    code, out, _ = run("audit", WORKSPACE)
    assert code == 0
    assert "once a year" in " ".join(out.split())
    cef = run("audit", "--format", "cef")[1].splitlines()
    assert [line.split("|")[4:7] for line in cef] == [
        ["key-rotated", "key rotated", "6"],
        ["caller-added", "caller added", "5"],
    ]
    assert "suser=ann" in cef[0]
    anchor = str(tmp_path / "anchor.json")
    assert run("journal", "anchor", anchor)[0] == 0
    assert run("journal", "verify", "--anchor", anchor)[0] == 0
    with closing(sqlite3.connect(tmp_path / ".sluice" / "journal.db")) as database:
        database.execute("DROP TRIGGER journal_refuses_update")
        database.execute("UPDATE journal SET actor = 'rita' WHERE kind = 'key-rotated'")
        database.commit()
    code, out, _ = run("journal", "verify")
    assert code == 1
    assert "entry 1 was changed after it was written" in " ".join(out.split())
    assert journal.models() == ()
    assert journal.sequences() == (WORKSPACE,)


def test_no_model_can_have_its_name(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="is not a model name"):
        check_name(WORKSPACE)
    with pytest.raises(UserError, match="is not a model name"):
        workspace.model_file(WORKSPACE)
    platform: Any = Platform(workspace, actor="ann")
    with pytest.raises(UserError, match="is not a model name"):
        platform.append("_other", "key-rotated", {})


def test_a_change_is_told_before_it_is_made(workspace: Workspace) -> None:
    """A machine that dies between the two leaves an entry without a change, never the reverse."""
    seen: list[int] = []

    def tell(root: Any) -> None:
        seen.append(root.version)
        raise EngineError("died")

    from registry.rotation import rotate

    before = SigningKey.load_or_create(workspace.keys).id
    with pytest.raises(EngineError, match="died"):
        rotate(workspace.keys, actor="ann", reason="", at=2e9, tell=tell)
    assert seen == [2]
    assert SigningKey.load_or_create(workspace.keys).id == before
