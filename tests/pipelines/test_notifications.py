"""What a webhook is told, how it is signed, and that nothing waits for it or is told a secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from canary.rollout import Step
from infra import webhook
from pipelines import notifications
from pipelines.assembly import Platform
from pipelines.notifications import SENT, notifying
from registry.errors import UserError
from registry.workspace import Workspace
from tests.canary.world import Behaviour, MemoryWorld
from tests.http_server import Request, serving
from tests.rollout.stage import MODEL, QUICK, Stage, always

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
IN_ADDRESS = "what-only-the-owner-knows"


@dataclass
class Receiver:
    """A real HTTP server that answers as it is told, the last answer for ever."""

    answers: list[int] = field(default_factory=lambda: [204])
    hangs: threading.Event | None = None
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    address: str = ""

    @property
    def url(self) -> str:
        return f"{self.address}/{IN_ADDRESS}"

    @property
    def events(self) -> list[str]:
        return [json.loads(body)["data"]["event"] for _, body in self.posts]

    def status(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        def reply(request: Request) -> None:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.posts.append((headers, request.body()))
            if self.hangs is not None:
                self.hangs.wait(20)
                return
            request.answer(self.status())

        with serving(reply) as self.address:
            try:
                yield self
            finally:
                if self.hangs is not None:
                    self.hangs.set()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as listening:
        yield listening


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("SLUICE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(notifications, "FOLLOW_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Scene:
    """A workspace with a webhook, the in-memory world beside it, and what was told."""

    root: Path
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # What happened before the first command is older than it.
        world = MemoryWorld(now=time.time() - 600)
        self.stage = Stage.at(Workspace(self.root).state, world)
        self.stage.controller().promote(MODEL, 1, QUICK)

    def points_to(self, url: str, more: str = "") -> None:
        (self.root / "sluice.toml").write_text(f"[notifications]\nwebhook = {url!r}\n{more}")

    def told(self, act: Callable[[], object] | None = None, *, strict: bool = True) -> None:
        """A command that promotes release 2, or does `act`, and tells."""
        platform = Platform(Workspace(self.root), actor="ci")
        with notifying(platform, MODEL, strict=strict, tell=self.lines.append):
            self.stage.world.now = max(self.stage.world.now, time.time())
            (act or self.promote)()

    def promote(self) -> None:
        self.stage.controller().promote(MODEL, 2, QUICK)

    @property
    def records(self) -> list[dict[str, Any]]:
        bodies = [dict(entry.body) for entry in self.stage.entries() if entry.kind == SENT]
        return [body for body in bodies if body["sent"] or body["failed"]]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "sluice.toml").touch()
    (tmp_path / ".sluice").mkdir()
    return Scene(tmp_path)


def verified(headers: dict[str, str], body: bytes) -> bool:
    """By the specification alone: HMAC-SHA256 of "id.timestamp.body", base64, after `v1,`."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


def test_a_rollout_is_told_in_order_and_signed(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url)
    scene.told()
    assert receiver.events == ["advanced", "promoted", "settled"]
    for headers, body in receiver.posts:
        assert verified(headers, body)
        assert not verified(headers, body + b" ")
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert headers["content-type"] == "application/json"
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 3
    first = json.loads(receiver.posts[0][1])
    assert first["type"] == "rollout.advanced"
    assert first["data"].items() >= {"model": MODEL, "rollout": 2, "candidate": 2}.items()
    assert "no evidence of harm" in first["data"]["text"]
    (record,) = scene.records
    assert record["failed"] == []
    kinds = {entry.sequence: entry.kind for entry in scene.stage.entries()}
    assert [kinds[sequence] for sequence in record["sent"]] == [
        "decided",
        "decided",
        "rollout-ended",
    ]
    assert scene.lines == []
    scene.stage.journal.verify(MODEL)


def test_a_rollback_is_told_when_decided_and_when_done(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url)
    scene.stage.world.behaviours[2] = Behaviour(error_share=0.3)
    scene.told()
    assert receiver.events == ["rolling-back", "rolled-back"]
    assert "more errors" in json.loads(receiver.posts[0][1])["data"]["reason"]


def test_a_step_that_waits_says_so_once(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url)
    steps = (Step(weight=10, hold_s=1, manual=True), Step(weight=100))
    plan = QUICK.model_copy(update={"steps": steps})
    stage = scene.stage

    def let_go_on() -> None:
        rollout = stage.serving.rollout
        if rollout is not None and rollout.waits and stage.world.now - (rollout.held_from or 0) > 4:
            body = {"step": rollout.step, "role": ""}
            stage.journal.append(MODEL, "resume-requested", body, actor="ann", at=stage.world.now)

    promote = stage.controller(sleep=always(stage, let_go_on)).promote
    scene.told(lambda: promote(MODEL, 2, plan))
    holds = [e for e in stage.entries() if e.body.get("rule") == "waits for a person"]
    assert len(holds) > 1
    assert receiver.events == ["waiting", "promoted", "settled"]


def test_only_what_was_asked_for_is_told(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url, "events = ['promoted']\n")
    scene.told()
    assert receiver.events == ["promoted"]


def test_a_server_that_stumbles_is_asked_again(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url, "events = ['settled']\n")
    receiver.answers = [500, 429, 204]
    scene.told()
    assert len(receiver.posts) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 1
    assert len(scene.records[0]["sent"]) == 1
    assert scene.lines == []


@pytest.mark.parametrize(("answer", "tries"), [(400, 1), (302, 1), (410, 1), (503, 3)])
def test_what_is_refused_is_recorded_and_told_once(
    scene: Scene, receiver: Receiver, answer: int, tries: int
) -> None:
    scene.points_to(receiver.url, "events = ['promoted', 'settled']\n")
    receiver.answers = [answer]
    scene.told()
    assert len(receiver.posts) == 2 * tries
    failed = scene.records[0]["failed"]
    assert [one["event"] for one in failed] == ["promoted", "settled"]
    assert all(f"HTTP {answer}" in one["reason"] for one in failed)
    assert len(scene.lines) == 1
    assert scene.lines[0].startswith("2 notifications could not be sent: 127.0.0.1: ")
    scene.told(lambda: scene.stage.controller().promote(MODEL, 3, QUICK))
    assert len(receiver.posts) == 4 * tries


def test_nobody_listening_fails_no_rollout(scene: Scene) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        scene.points_to(f"http://127.0.0.1:{port}/{IN_ADDRESS}", "events = ['settled']\n")
        scene.told()
    assert scene.stage.serving.live == 2
    assert "cannot be reached" in scene.records[0]["failed"][0]["reason"]
    assert len(scene.lines) == 1


def test_a_hanging_server_holds_no_rollback_and_misses_nothing(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.points_to(receiver.url)
    receiver.hangs = threading.Event()
    monkeypatch.setattr(notifications, "CLOSING_S", 0.2)
    scene.stage.world.behaviours[2] = Behaviour(error_share=0.3)
    inside: list[float] = []

    def promote() -> None:
        began = time.monotonic()
        scene.promote()
        inside.append(time.monotonic() - began)

    began = time.monotonic()
    scene.told(promote)
    assert time.monotonic() - began - inside[0] < 2
    assert inside[0] < webhook.TIMEOUT_S
    assert scene.stage.weights == {1: 100}
    assert scene.records == []
    assert scene.lines == ["notifications are not all sent; the next command sends the rest"]
    receiver.hangs.set()
    receiver.hangs = None


def test_what_a_killed_command_did_not_send_is_sent_by_the_next(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.points_to(receiver.url)
    held = receiver.hangs = threading.Event()
    with monkeypatch.context() as killed:
        killed.setattr(notifications, "CLOSING_S", 0.5)
        scene.told()
    assert receiver.events == ["advanced"]
    assert scene.records == []
    receiver.hangs = None
    scene.told(lambda: None)
    held.set()
    assert receiver.events[-3:] == ["advanced", "promoted", "settled"]
    repeated = receiver.posts[0][0]["webhook-id"]
    assert repeated in {headers["webhook-id"] for headers, _ in receiver.posts[1:]}
    assert scene.records[-1]["through"] > 0


def test_old_news_is_not_told(scene: Scene, receiver: Receiver) -> None:
    scene.points_to(receiver.url)
    scene.promote()
    scene.told(lambda: None)
    assert receiver.posts == []


def test_no_secret_and_no_address_is_ever_shown(
    scene: Scene, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    scene.points_to(receiver.url)
    receiver.answers = [500]
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        scene.told()
    shown = [record.getMessage() for record in caplog.records] + scene.lines
    shown += [json.dumps(dict(entry.body)) for entry in scene.stage.entries()]
    shown.append(repr(Workspace(scene.root).settings))
    assert scene.lines
    for text in shown:
        assert IN_ADDRESS not in text
        assert SECRET not in text
        assert SECRET.removeprefix("whsec_") not in text


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!", SECRET[6:]])
def test_a_promotion_without_a_good_secret_is_refused_before_it_begins(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    scene.points_to(receiver.url)
    monkeypatch.setenv("SLUICE_WEBHOOK_SECRET", secret)
    before = scene.stage.entries()
    with pytest.raises(UserError, match="SLUICE_WEBHOOK_SECRET") as caught:
        scene.told()
    assert not secret or secret not in str(caught.value).replace("whsec_ and", "")
    assert scene.stage.entries() == before
    scene.told(strict=False)
    assert scene.stage.serving.live == 2
    assert [line for line in scene.lines if "SLUICE_WEBHOOK_SECRET" in line] == scene.lines
    assert len(scene.lines) == 1


@pytest.mark.parametrize(
    "value",
    [
        f"'http://example.com/{IN_ADDRESS}'",
        f"'ftp://127.0.0.1/{IN_ADDRESS}'",
        f"'https://:99999/{IN_ADDRESS}'",
        f"'https://a:port/{IN_ADDRESS}'",
        f"['https://a/{IN_ADDRESS}']",
        "'nonsense'",
    ],
)
def test_an_address_in_the_clear_is_refused_and_not_shown(scene: Scene, value: str) -> None:
    (scene.root / "sluice.toml").write_text(f"[notifications]\nwebhook = {value}\n")
    with pytest.raises(UserError, match=r"sluice\.toml:2: notifications\.webhook") as caught:
        scene.told()
    assert IN_ADDRESS not in str(caught.value)


def test_without_a_webhook_nothing_is_done(scene: Scene) -> None:
    threads = threading.active_count()
    platform = Platform(Workspace(scene.root), actor="ci")
    with notifying(platform, MODEL):
        assert threading.active_count() == threads
    assert scene.records == []
