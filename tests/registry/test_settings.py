from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UserError
from registry.settings import WorkspaceSettings, load_settings
from registry.toml_files import MAX_FILE_BYTES, line_of
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], WorkspaceSettings]:
    def write_and_load(text: str) -> WorkspaceSettings:
        (tmp_path / "sluice.toml").write_text(text)
        return load_settings(tmp_path / "sluice.toml")

    return write_and_load


@pytest.fixture
def refusal(load: Callable[[str], WorkspaceSettings]) -> Callable[[str], str]:
    """The one line in which a file is refused, without the folder."""

    def refuse(text: str) -> str:
        with pytest.raises(UserError) as caught:
            load(text)
        line = str(caught.value)
        assert "\n" not in line
        return line[line.find("sluice.toml") :] if "sluice.toml" in line else line

    return refuse


def test_an_empty_file_is_a_whole_workspace(load: Callable[[str], WorkspaceSettings]) -> None:
    settings = load("")
    assert (settings.serving.host, settings.serving.port) == ("127.0.0.1", 0)
    assert (settings.journal.url, settings.tracking.uri) == ("", "")
    assert (settings.evaluation.shards, settings.evaluation.runner) == (1, "local")
    assert settings.evaluation.keep_answers_days == 90


def test_an_unknown_key_is_named_with_its_line_and_what_is_allowed(
    refusal: Callable[[str], str],
) -> None:
    text = "# ours\n\n[serving]\nhost = 'localhost'\nprot = 8080\n"
    assert refusal(text) == (
        "sluice.toml:5: unknown key serving.prot; did you mean port? allowed here: audience, "
        "callers, host, issuer, issuer_keys, max_request_mb, platform, port, requests_per_s"
    )
    assert refusal("[servings]\nport = 1\n") == (
        "sluice.toml:1: unknown key servings; did you mean serving? "
        "allowed here: conversion, evaluation, identity, journal, kubernetes, logs, notifications, "
        "prices, records, regions, serving, store, telemetry, tracing, tracking, trust"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[serving]\nport = 'http'\n",
            (
                "sluice.toml:2: serving.port should be a valid integer, unable to parse string as "
                "an integer, not 'http'; allowed: integer, at least 0, at most 65535"
            ),
        ),
        (
            "[serving]\n\nport = 65536\n",
            (
                "sluice.toml:3: serving.port should be less than or equal to 65535, not 65536; "
                "allowed: integer, at least 0, at most 65535"
            ),
        ),
        (
            "serving = 5\n",
            (
                "sluice.toml:1: serving should be a valid dictionary or instance of "
                "ServingSection, not 5; allowed: table"
            ),
        ),
        (
            "[evaluation]\nrunner = 'ray'\n",
            (
                "sluice.toml:2: evaluation.runner should be 'local' or 'dask', not 'ray'; "
                "allowed: 'local', 'dask'"
            ),
        ),
        (
            "[journal]\nurl = ['a']\n",
            "sluice.toml:2: journal.url should be a valid string, not ['a']; allowed: string",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    refusal: Callable[[str], str], text: str, expected: str
) -> None:
    assert refusal(text) == expected


def test_of_several_mistakes_the_first_is_told(refusal: Callable[[str], str]) -> None:
    line = refusal("[serving]\nport = -1\n[journal]\nurl = 5\n")
    assert line.startswith("sluice.toml:2: serving.port ")
    assert "(1 of 2 mistakes)" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[serving\nport = 1\n", "sluice.toml:1: is not TOML: "),
        (b"a = 1\nb = \n", "sluice.toml:2: is not TOML: "),
        (b"[serving]\nport = 1\nport = 2\n", "sluice.toml:3: is not TOML: "),
        (b"[serving]\n# caf\xe9\n", "sluice.toml:2: is not UTF-8; save it as UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "sluice.toml: is larger than 1 MiB, so no settings file"),
        (b"\0", "sluice.toml:1: is not TOML: "),
    ],
)
def test_what_is_no_settings_file_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "sluice.toml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings(tmp_path / "sluice.toml")
    assert str(caught.value).startswith(f"{tmp_path}/{expected}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        load_settings(tmp_path / "sluice.toml")
    (tmp_path / "sluice.toml").mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_settings(tmp_path / "sluice.toml")


def test_the_environment_overrides_one_key(
    load: Callable[[str], WorkspaceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVING__PORT", "8080")
    settings = load("[serving]\nhost = 'localhost'\nport = 1\n")
    assert (settings.serving.host, settings.serving.port) == ("localhost", 8080)


def test_a_wrong_override_names_the_variable(
    refusal: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVING__PORT", "http")
    assert refusal("[serving]\nport = 1\n") == (
        "environment variable SLUICE_SERVING__PORT: serving.port should be a valid integer, unable "
        "to parse string as an integer, not 'http'; allowed: integer, at least 0, at most 65535"
    )
    monkeypatch.delenv("SLUICE_SERVING__PORT")
    monkeypatch.setenv("SLUICE_SERVNG__PORT", "1")
    assert refusal("") == (
        "environment variable SLUICE_SERVNG__PORT: there is no section 'servng'; "
        "allowed: conversion, evaluation, identity, notifications, records, serving, journal, "
        "kubernetes, logs, prices, regions, store, telemetry, tracing, tracking, trust"
    )


@pytest.mark.parametrize("name", ["SLUICE_WORKSPACE", "SLUICE_ACTOR", "SLUICE_PREDICTION_LOG"])
def test_variables_that_are_no_settings_do_not_disturb(
    load: Callable[[str], WorkspaceSettings], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/somewhere/else")
    assert load("") == WorkspaceSettings()


def test_the_quick_look_at_a_setting_agrees_with_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sluice.toml").write_text("[journal]\nurl = 'postgresql://db/sluice'\n")
    workspace = Workspace(tmp_path)
    assert workspace.journal_url == workspace.settings.journal.url == "postgresql://db/sluice"
    assert workspace.tracking_uri == f"sqlite:///{tmp_path}/.sluice/mlflow/mlflow.db"
    monkeypatch.setenv("SLUICE_TRACKING__URI", "https://mlflow.internal")
    assert Workspace(tmp_path).tracking_uri == "https://mlflow.internal"
    assert Workspace(tmp_path).settings.tracking.uri == "https://mlflow.internal"
    (tmp_path / "sluice.toml").write_text("[journal\n")
    with pytest.raises(UserError, match="is not TOML"):
        _ = Workspace(tmp_path).journal_url


def test_a_workspace_is_found_upwards(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    with pytest.raises(UserError, match="run `sluice init`"):
        Workspace.find(deep)
    (tmp_path / "sluice.toml").touch()
    assert Workspace.find(deep) == Workspace.find(tmp_path) == Workspace(tmp_path)
    (deep / "sluice.toml").touch()
    assert Workspace.find(deep).root == deep


@pytest.mark.parametrize("name", ["what?", "a#b", "50%", "a\nb"])
def test_a_path_that_would_end_a_databases_url_early_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "sluice.toml").touch()
    with pytest.raises(UserError, match="use another folder"):
        Workspace.find(tmp_path / name)


def test_models_are_those_with_a_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.model_names() == ()
    (tmp_path / "models").mkdir()
    for name in ("b", "a"):
        (tmp_path / "models" / f"{name}.toml").touch()
    assert workspace.model_names() == ("a", "b")
    workspace.require_model("a")
    with pytest.raises(UserError, match="no model 'c'; this workspace has a, b"):
        workspace.require_model("c")
    for name in ("", "A", "../a", "-a", "a" * 64, "a\n"):
        with pytest.raises(UserError, match="is not a model name"):
            workspace.model_file(name)


@given(st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_the_line_of_a_key_is_where_its_statement_begins(
    before: int, between: int, several: bool
) -> None:
    value = "[\n  1,\n  2,\n]" if several else "[1, 2]"
    text = "# x\n" * before + "[t]\n" + "\n" * between + f"a = {value}\nb = 1\n"
    assert line_of(text, ("t",)) == before + 1
    assert line_of(text, ("t", "a")) == before + between + 2
    assert line_of(text, ("t", "a", 1)) == before + between + 2
    assert line_of(text, ("t", "b")) == before + between + 3 + 3 * several
    assert line_of(text, ("t", "absent")) == before + 1
    assert line_of(text, ("absent",)) == 1


def test_records_are_kept_here_and_for_ever_unless_it_says_so(
    load: Callable[[str], WorkspaceSettings], refusal: Callable[[str], str]
) -> None:
    assert (load("").records.archive, load("").records.keep_days) == ("", 0)
    told = load("[records]\narchive = 's3://speech/log'\nkeep_days = 30\n").records
    assert (told.archive, told.keep_days) == ("s3://speech/log", 30)
    assert "sluice.toml:2: records.archive" in refusal("[records]\narchive = 'ftp://a'\n")
    assert "sluice.toml:2: records.keep_days" in refusal("[records]\nkeep_days = -1\n")
