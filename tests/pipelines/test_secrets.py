"""No secret is ever written, printed, or given to a program as an argument.

Every setting that holds one is given a word that is nowhere else, the path is walked, and then the
word is looked for in whatever it left. The same walk is held against a policy for two people.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import jwt
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from infra.prometheus_telemetry import PrometheusTelemetry
from registry.errors import SluiceError
from registry.signature import SigningKey

from ..http_server import Request, serving
from .conftest import GRID, MODEL
from .test_path import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Home, Ran

WORDS = {
    "webhook address": "canary-webhook-address-5d1c",
    "webhook secret": "canary-webhook-secret-77ab",
    "S3 key id": "CANARYS3KEYID93FE",
    "S3 secret": "canary-s3-secret-10c4",
    "S3 session": "canary-s3-session-e2b7",
    "Prometheus": "canary-prometheus-8fd0",
    "passphrase": "canary-passphrase-31aa",
    "MLflow password": "canary-mlflow-password-9d04",
    "MLflow token": "canary-mlflow-token-4be1",
}

FINDABLE = "canary-reason-of-ann-66e2"


class Listener:
    """Takes what is posted, and answers everybody that it cannot be done now."""

    def __init__(self) -> None:
        self.headers: list[str] = []
        self.address = ""


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()

    def refuse(request: Request) -> None:
        made.headers.append(str(request.headers))
        request.body()
        request.answer(403)

    with serving(refuse) as made.address:
        yield made


class Arguments:
    """Every command line that any process of this machine had while the block ran."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            for process in psutil.process_iter(["cmdline"]):
                self.seen.add(" ".join(process.info["cmdline"] or ()))


def id_token(folder: Path, actor: str) -> str:
    """A token of an issuer whose keys lie in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": actor}
    path = folder / "issuer-keys.json"
    known = json.loads(path.read_text())["keys"] if path.exists() else []
    path.write_text(json.dumps({"keys": [*known, jwk]}))
    claims: dict[str, Any] = {"iss": "https://id.example", "aud": "sluice", "sub": actor}
    claims |= {"exp": int(time.time()) + 3600, "groups": [f"{actor}s-group"]}
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": actor})


SETTINGS = """
[identity]
issuer = "https://id.example"
audience = "sluice"
jwks = "issuer-keys.json"
required = true

[notifications]
webhook = "{address}/{word}"

[records]
archive = "s3://bucket/records"
"""

POLICY = """
[[grants]]
role = "releaser"
groups = ["ritas-group"]

[[grants]]
role = "engineer"
actors = ["rita"]

[[grants]]
role = "approver"
actors = ["ann"]

[production]
approvals = 1
require_reason = true
"""


@contextmanager
def settings(home: Home, listener: Listener) -> Iterator[None]:
    """The workspace as a careful team has it; afterwards as it was."""
    file, before = home.root / "sluice.toml", (home.root / "sluice.toml").read_text()
    extra = SETTINGS.format(address=listener.address, word=WORDS["webhook address"])
    file.write_text(before + extra)
    (home.root / "access.toml").write_text(POLICY)
    try:
        yield
    finally:
        file.write_text(before)
        for name in ("access.toml", "issuer-keys.json"):
            (home.root / name).unlink(missing_ok=True)


def found_in(folder: Path, words: list[str]) -> list[str]:
    """Files below the folder that hold one of the words as it is."""
    patterns = [part for word in words for part in ("-e", word)]
    done = subprocess.run(
        ["grep", "-rlaF", *patterns, str(folder)],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.splitlines()


def other_release(home: Home) -> tuple[int, int]:
    """What serves, and another release that was gated."""
    live = int(home.json("status", MODEL)["models"][0]["live"])
    known = [e["body"]["release"] for e in home.history() if e["kind"] == "release-published"]
    if known == [live]:
        home.json("gate", MODEL, "-v", "openvino-int8")
        record = home.json("publish", MODEL, "-v", "openvino-int8")
        known.append(int(record["release"]))
    return live, next(release for release in known if release != live)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_the_path_leaves_no_secret_and_takes_two_people(
    home: Home, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, release = other_release(home)
    secret = base64.b64encode(WORDS["webhook secret"].encode().ljust(32, b"=")).decode()
    tokens: dict[str, str] = {}
    ran: list[Ran] = []

    def run(*arguments: str, actor: str = "rita") -> Ran:
        monkeypatch.setenv("SLUICE_ID_TOKEN", tokens[actor])
        ran.append(home.run(*arguments))
        return ran[-1]

    for name, value in {
        "SLUICE_WEBHOOK_SECRET": f"whsec_{secret}",
        "AWS_ENDPOINT_URL_S3": listener.address,
        "AWS_ACCESS_KEY_ID": WORDS["S3 key id"],
        "AWS_SECRET_ACCESS_KEY": WORDS["S3 secret"],
        "AWS_SESSION_TOKEN": WORDS["S3 session"],
        "AWS_REGION": "eu-1",
        "MLFLOW_TRACKING_USERNAME": "rita",
        "MLFLOW_TRACKING_PASSWORD": WORDS["MLflow password"],
        "MLFLOW_TRACKING_TOKEN": WORDS["MLflow token"],
    }.items():
        monkeypatch.setenv(name, value)
    with settings(home, listener), Arguments() as arguments:
        tokens |= {actor: id_token(home.root, actor) for actor in ("rita", "ann")}
        promote = ("promote", MODEL, "--release", str(release), "--reason", "better")
        before = len(home_history(home, tokens["rita"], monkeypatch))
        assert run("register", MODEL, str(GRID / "models" / "whisper-grid")).code == 0
        assert "needs 1 more approval" in run(*promote).refusal
        assert "asks for a reason" in run(*promote[:4]).refusal
        assert "rita may not approve" in run("approve", MODEL, str(release)).refusal
        run("log", "status", MODEL)
        assert len(home_history(home, tokens["rita"], monkeypatch)) == before
        assert run("approve", MODEL, str(release), "--reason", FINDABLE, actor="ann").code == 0
        with Traffic(home.front_door()):
            assert run(*promote).code == 0
        assert run("rollback", MODEL, "--to", str(live), "--reason", "a test").code == 0
        for command in (["audit", "--format", "cef"], ["whoami"], ["journal", "verify"]):
            assert run(*command).code == 0
        entries = home_history(home, tokens["rita"], monkeypatch)[before:]
    assert {entry["actor"] for entry in entries} == {"ann", "rita"}
    assert any(WORDS["S3 key id"] in headers for headers in listener.headers), "S3 was not asked"
    told = [entry["body"]["failed"] for entry in entries if entry["kind"] == "notifications-sent"]
    assert any(told), "nobody told the webhook"
    words = [*WORDS.values(), secret, *tokens.values()]
    assert found_in(home.root / ".sluice", words) == []
    assert found_in(home.root / ".sluice", [FINDABLE]), "what is there is found"
    printed = "".join(one.out + one.err for one in ran)
    given = "\n".join(arguments.seen)
    for word in words:
        assert word not in printed
        assert word not in given
    assert str(home.root) in given, "commands of the engines were looked at"


def home_history(home: Home, token: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("SLUICE_ID_TOKEN", token)
    return home.history()


def test_a_prometheus_that_refuses_its_token_is_told_without_it(
    listener: Listener, tmp_path: Path
) -> None:
    word = WORDS["Prometheus"]
    telemetry = PrometheusTelemetry(listener.address, tmp_path, token=word, fresh_s=0.1)
    with pytest.raises(SluiceError) as caught:
        telemetry.read(MODEL, 1000)
    assert word in "".join(listener.headers)
    assert word not in str(caught.value)
    assert word not in repr(telemetry)


def test_a_passphrase_is_in_no_file_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = WORDS["passphrase"]
    monkeypatch.setenv("SLUICE_KEY_PASSPHRASE", word)
    SigningKey.load_or_create(tmp_path / "keys").sign(b"x")
    assert found_in(tmp_path, [word]) == []
    monkeypatch.setenv("SLUICE_KEY_PASSPHRASE", f"not-{word}")
    with pytest.raises(SluiceError) as caught:
        SigningKey.load_or_create(tmp_path / "keys")
    assert word not in str(caught.value)
