"""The two programs that actions run: one comment that is changed, and a token that nobody sees."""

from __future__ import annotations

import json
import runpy
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ..http_server import Request, serving
from .ci_files import GITHUB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOT = "github-actions[bot]"
PLACE = "/repos/team/models"


class Comments:
    """The part of GitHub's REST interface that keeps an issue's comments."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.refuses = 0

    def answer(self, method: str, path: str, body: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if self.refuses:
            return self.refuses, {"message": "Resource not accessible by integration"}
        path, _, query = path.partition("?")
        if method == "GET":
            page = int(query.rpartition("page=")[2])
            return 200, self.kept[(page - 1) * 100 : page * 100]
        if method == "POST":
            self.add(BOT, body["body"])
            return 201, self.kept[-1]
        (one,) = [one for one in self.kept if str(one["id"]) == path.rpartition("/")[2]]
        one["body"] = body["body"]
        return 200, one

    def add(self, author: str, body: str) -> None:
        number = len(self.kept) + 1
        one = {"id": number, "user": {"login": author}, "body": body}
        self.kept.append(one | {"html_url": f"https://github.example/{number}"})


@contextmanager
def served(answer: Any) -> Iterator[str]:
    """An HTTP server that answers JSON; its address."""

    def reply(request: Request) -> None:
        body = json.loads(request.body() or "{}")
        status, value = answer(request.command, request.path, body, request.headers)
        request.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    with serving(reply) as address:
        yield address


@pytest.fixture
def comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comments]:
    made = Comments()
    tokens: list[str] = []

    def answer(method: str, path: str, body: dict[str, str], headers: Any) -> tuple[int, Any]:
        tokens.append(headers["Authorization"])
        assert path.startswith(PLACE)
        return made.answer(method, path, body)

    with served(answer) as address:
        for name, value in {
            "GITHUB_API_URL": address,
            "GITHUB_REPOSITORY": "team/models",
            "GITHUB_TOKEN": "of-this-job",
            "NUMBER": "7",
            "MARK": "speech",
            "REPORT": str(tmp_path / "summary.md"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AUTHOR", raising=False)
        yield made
    assert set(tokens) <= {"Bearer of-this-job"}


def comment(tmp_path: Path, report: str) -> int:
    (tmp_path / "summary.md").write_text(report)
    main = runpy.run_path(str(GITHUB / "actions" / "comment" / "comment.py"))["main"]
    return int(main())


def test_the_report_is_one_comment_however_often_it_runs(
    comments: Comments, tmp_path: Path
) -> None:
    mark = "<!-- sluice: speech -->"
    comments.add("mallory", f"{mark}\nlooks good to me")
    for number in range(120):
        comments.add(BOT, f"<!-- sluice: other -->\n{number}")
    assert comment(tmp_path, "FAIL: worse by 2 %") == 0
    assert comment(tmp_path, "PASS") == 0
    ours = [one for one in comments.kept if one["body"].startswith(mark)]
    assert [one["body"] for one in ours] == [f"{mark}\nlooks good to me", f"{mark}\nPASS"]
    assert sum(line.startswith("POST") for line in comments.asked) == 1
    assert comments.asked[-1] == f"PATCH {PLACE}/issues/comments/{ours[1]['id']}"


def test_a_long_report_is_cut_to_what_github_takes(comments: Comments, tmp_path: Path) -> None:
    assert comment(tmp_path, "x" * 100_000) == 0
    body = comments.kept[-1]["body"]
    assert len(body) < 65_536
    assert "cut short" in body[-100:]


def test_a_right_that_is_missing_is_one_line(
    comments: Comments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comments.refuses = 403
    assert comment(tmp_path, "PASS") == 1
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "pull-requests: write" in told
    assert "of-this-job" not in told


def identify() -> None:
    runpy.run_path(str(GITHUB / "actions" / "identity.py"))["main"]()


def test_the_token_goes_into_a_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def answer(_method: str, path: str, _body: Any, headers: Any) -> tuple[int, Any]:
        asked.append((path, headers["Authorization"]))
        return 200, {"value": "canary-id-token"}

    with served(answer) as address:
        for name, value in {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{address}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-request-token",
            "AUDIENCE": "sluice & co",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ENV": str(tmp_path / "variables"),
        }.items():
            monkeypatch.setenv(name, value)
        identify()
        identify()  # a second step of the same job
    assert asked[0] == (
        "/token?api-version=2.0&audience=sluice%20%26%20co",
        "bearer canary-request-token",
    )
    path = tmp_path / "sluice-id-token"
    assert path.read_text() == "canary-id-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    variables = (tmp_path / "variables").read_text()
    assert variables.splitlines()[0] == f"SLUICE_ID_TOKEN_FILE={path}"
    assert "canary" not in variables + capsys.readouterr().out


@pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "AUDIENCE"])
def test_without_a_right_to_a_token_the_actor_is_a_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    given = {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:9/", "AUDIENCE": "sluice"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    monkeypatch.setenv("SLUICE_ACTOR", "github:ann")
    monkeypatch.setenv("GITHUB_ENV", str(tmp_path / "variables"))
    identify()
    assert "acting as github:ann, by name" in capsys.readouterr().out
    assert not (tmp_path / "variables").exists()
