"""A real MLflow server with users: what each may do, and that nobody's password is kept."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from pipelines.assembly import Platform
from pipelines.register import register_version
from registry.errors import SluiceError, UserError
from registry.manifest import Manifest
from registry.mlflow_client import open_client
from registry.quiet import QUIET_ENVIRONMENT
from registry.tracking import Tracking
from registry.workspace import Workspace
from tests.registry.conftest import write_tree

from .test_secrets import found_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    # MLflow's own tables use a loader that SQLAlchemy 2.1 has begun to warn of.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning"),
]

MODEL = "speech"
CONFIG = """
[mlflow]
default_permission = READ
database_uri = sqlite:///{root}/users.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
PASSWORDS = {
    name: f"canary-mlflow-{name}-{number}c41d"
    for number, name in enumerate(("admin", "ann", "ed", "rita", "zoe"))
}
"""ann registers, ed may edit, rita may read what others may not hide from her, zoe nothing."""


@dataclass(frozen=True)
class Server:
    """The server, a workspace that names it, and one artifact of ann's there."""

    uri: str
    workspace: Workspace
    digest: str
    version: dict[str, Any]
    seen: set[str]
    """Command lines of all processes of the machine, when the server and its first client ran."""

    @property
    def tracking(self) -> Tracking:
        return Tracking.of_workspace(self.workspace)

    def add(self, content: bytes) -> str:
        """One more artifact in the workspace's store, by digest."""
        source = write_tree(self.workspace.root / content.hex(), {"weights.bin": content})
        return Platform(self.workspace).store.add(source).digest

    def register(self, digest: str) -> dict[str, Any]:
        """What the flow does in MLflow."""
        tags = {"kind": "whisper", "actor": "test"}
        return register_version.fn(str(self.workspace.root), MODEL, digest, tags)


@contextmanager
def acting(name: str, password: str = "") -> Iterator[None]:
    """As this user, told as MLflow's client reads it."""
    given = {
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": password or PASSWORDS.get(name, ""),
    }
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in given.items():
            patched.setenv(variable, value)
        yield


@contextmanager
def running(root: Path) -> Iterator[str]:
    """`mlflow server --app-name basic-auth` on loopback; its address."""
    (root / "auth.ini").write_text(CONFIG.format(root=root))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    environment = (
        os.environ
        | QUIET_ENVIRONMENT
        | {
            "MLFLOW_AUTH_CONFIG_PATH": str(root / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONWARNINGS": "ignore",
        }
    )
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    command += ["--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(root / "files")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, root / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        children = psutil.Process(server.pid).children(recursive=True)
        for process in (server, *children):
            process.kill()
        server.wait()
        psutil.wait_procs(children, timeout=10)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            httpx.get(address, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return


def administer(uri: str, what: str, **values: str) -> None:
    """MLflow's own client for this imports the whole server."""
    auth = ("admin", PASSWORDS["admin"])
    httpx.post(f"{uri}/api/{what}", json=values, auth=auth, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("flask_wtf", reason="MLflow's users need it: pip install 'mlflow[auth]'")
    root = tmp_path_factory.mktemp("mlflow-users")
    (root / "home").mkdir()
    with running(root) as uri:
        (root / "home" / "sluice.toml").write_text(f'[tracking]\nuri = "{uri}"\n')
        made = Server(uri, Workspace(root / "home"), "", {}, set())
        for name in ("ann", "ed", "rita", "zoe"):
            administer(uri, "2.0/mlflow/users/create", username=name, password=PASSWORDS[name])
        digest = made.add(b"first")
        with acting("ann"):
            version = made.register(digest)
            experiment = open_client(uri).get_experiment_by_name(MODEL)
            assert experiment is not None
        for kind, name in (("registered_model", MODEL), ("experiment", experiment.experiment_id)):
            named = {"resource_type": kind, "resource_id": name}
            for user, permission in (("ed", "EDIT"), ("zoe", "DENY")):
                given = named | {"username": user, "permission": permission}
                administer(uri, "3.0/mlflow/users/permissions/grant", **given)
        seen = {" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])}
        yield Server(uri, made.workspace, digest, version, seen)


def refusal(act: Any) -> str:
    """The one line that a person sees."""
    with pytest.raises(UserError) as caught:
        act()
    told = str(caught.value)
    assert "\n" not in told
    assert not any(password in told for password in PASSWORDS.values())
    return told


def test_who_may_write_registers_and_who_comes_again_finds_it(server: Server) -> None:
    assert (server.version["version"], server.version["created"]) == ("1", True)
    with acting("ann"):
        assert server.register(server.digest) == server.version | {"created": False}
        assert server.tracking.aliases(MODEL) == {"candidate": "1"}
    second = server.add(b"second")
    with acting("ed"):
        made = server.register(second)
        assert (made["version"], made["created"]) == ("2", True)
        server.tracking.tag(MODEL, "2", {"release.1": "production"})


def test_a_reader_fetches_what_was_registered_and_changes_nothing(
    server: Server, tmp_path: Path
) -> None:
    third = server.add(b"third")
    with acting("rita"):
        manifest = Platform(server.workspace).store.manifest(server.digest)
        server.tracking.download(MODEL, "1", manifest, tmp_path / "out")
        assert Manifest.of_folder(tmp_path / "out").digest == server.digest
        before = server.tracking.aliases(MODEL)
        for act in (
            lambda: server.register(third),
            lambda: server.tracking.set_alias(MODEL, "production", "1"),
            lambda: server.tracking.tag(MODEL, "1", {"a": "b"}),
            lambda: server.tracking.log_record(server.version["run_id"], {"a": 1}, "a.json"),
            lambda: server.tracking.log_metrics(server.version["run_id"], {"wer": 0.1}),
        ):
            told = refusal(act)
            assert told.startswith(f"MLflow at {server.uri}: rita may not do this there")
            assert "ask an admin of that MLflow for EDIT on the model" in told
        assert server.tracking.aliases(MODEL) == before


def test_who_has_no_permission_does_not_even_read(server: Server, tmp_path: Path) -> None:
    manifest = Platform(server.workspace).store.manifest(server.digest)
    with acting("zoe"):
        for act in (
            lambda: server.tracking.aliases(MODEL),
            lambda: server.tracking.download(MODEL, "1", manifest, tmp_path / "out"),
        ):
            assert "zoe may not do this there" in refusal(act)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "not-her-password"), ("nobody", "has-no-account"), ("", "")]
)
def test_whoever_is_not_known_is_told_what_to_set(server: Server, name: str, password: str) -> None:
    fourth = server.add(b"fourth")
    with acting(name, password):
        told = refusal(lambda: server.register(fourth))
    assert "does not let this name and password in" in told
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in told
    assert not password or password not in told


def test_a_token_is_sent_as_one_and_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For servers behind a proxy that takes tokens; the users' own server knows passwords alone."""
    heard: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "canary-mlflow-token-6b20")
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            told = refusal(
                lambda: Tracking(f"http://127.0.0.1:{proxy.server_port}", tmp_path).aliases(MODEL)
            )
        finally:
            proxy.shutdown()
            thread.join()
    assert heard[0] == "Bearer canary-mlflow-token-6b20"
    assert "canary-mlflow-token" not in told
    assert "MLFLOW_TRACKING_TOKEN" in told


def test_a_password_in_the_address_is_refused_before_it_can_be_logged(tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as caught:
        Tracking("https://ann:canary-in-the-address@mlflow.example", tmp_path).aliases(MODEL)
    assert "canary-in-the-address" not in str(caught.value)
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead" in str(caught.value)


def test_no_password_is_in_a_file_or_an_argument(server: Server) -> None:
    """Last in the module: all of the above has been done."""
    root = server.workspace.root.parent
    assert found_in(root, list(PASSWORDS.values())) == []
    assert found_in(root, [server.digest]), "what is there is found"
    assert any(str(root) in line for line in server.seen), "the server was looked at"
    assert not any(word in line for line in server.seen for word in PASSWORDS.values())
