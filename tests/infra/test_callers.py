"""Who may ask the front door, and how much, on the real Envoy."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tritonclient.utils import InferenceServerException

from infra.local.callers import Callers
from infra.local.door_policy import ISSUER
from registry.errors import UserError
from registry.settings import load_settings

from .toys import client, grpc_client, in_parallel, make_workspace, open_door, question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .toys import Door

MODEL = "guarded"
PROVIDER = ec.generate_private_key(ec.SECP256R1())
SETTINGS = """
[serving]
callers = "tokens"
issuer = "https://people.example"
audience = "speech"
issuer_keys = "provider.json"
max_request_mb = 1
requests_per_s = 50
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    root = tmp_path_factory.mktemp("guarded") / "door"
    root.mkdir()
    key = ECAlgorithm.to_jwk(PROVIDER.public_key(), as_dict=True) | {"kid": "p", "alg": "ES256"}
    (root / "provider.json").write_text(json.dumps({"keys": [key]}))
    with open_door(root, settings=SETTINGS) as door:
        door.serve(MODEL, 1)
        door.route(MODEL, (1, 100))
        yield door


def ask(door: Door, token: str = "", **headers: str) -> tuple[int, str]:
    if token:
        headers["authorization"] = f"Bearer {token}"
    with client() as rest:
        answer = rest.post(
            f"http://127.0.0.1:{door.port}/v2/models/{MODEL}/infer",
            json=question(),
            headers=headers,
        )
    return answer.status_code, answer.text


def counted(door: Door) -> Any:
    arms = door.telemetry.read(MODEL, 1000)
    return {release: (arm.requests, arm.errors) for release, arm in arms.items()}


def provided(**changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "https://people.example", "aud": "speech", "sub": "ann", "exp": now + 60}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, PROVIDER, algorithm="ES256", headers={"kid": "p"})


pytestmark = pytest.mark.engine


def test_without_a_token_nothing_is_answered(guarded: Door) -> None:
    before = counted(guarded)
    for _ in range(20):
        status, text = ask(guarded)
        assert (status, json.loads(text)) == (401, {"error": "Jwt is missing"})
    with client() as rest:
        for path in ("/v2/health/ready", "/v2", f"/v2/models/{MODEL}", "/", "/v2/repository/index"):
            assert rest.get(f"http://127.0.0.1:{guarded.port}{path}").status_code == 401
    assert counted(guarded) == before  # nobody's telemetry
    _, token = Callers(guarded.workspace).add("asr-app", days=1)
    assert ask(guarded, token)[0] == 200


def test_grpc_callers_show_theirs_as_metadata(guarded: Door) -> None:
    import tritonclient.grpc as grpcclient

    _, token = Callers(guarded.workspace).add("streamer", days=1)
    tensor = grpcclient.InferInput("waveform", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 2), dtype=np.float32))
    with grpc_client(guarded) as grpc:
        headers = {"authorization": f"Bearer {token}"}
        answer = grpc.infer(MODEL, [tensor], headers=headers, client_timeout=30)
        assert answer.as_numpy("transcript").reshape(-1)[0] == b"release 1"
        with pytest.raises(InferenceServerException, match="Jwt is missing") as caught:
            grpc.infer(MODEL, [tensor], client_timeout=30)
        assert caught.value.status() == "StatusCode.UNAUTHENTICATED"


def test_a_token_opens_until_it_is_withdrawn(guarded: Door) -> None:
    callers = Callers(guarded.workspace)
    _, kept = callers.add("lip-reader", days=1)
    first, old = callers.add("translator", days=1)
    _, new = callers.add("translator", days=1)
    assert ask(guarded, old)[0] == ask(guarded, new)[0] == 200
    assert [one.id for one in callers.withdraw("translator", first.id)] == [first.id]
    assert ask(guarded, old)[0] == 403
    assert ask(guarded, new)[0] == ask(guarded, kept)[0] == 200
    callers.withdraw("translator")
    assert ask(guarded, new)[0] == 403
    with pytest.raises(UserError, match="'translator' has no such token"):
        callers.withdraw("translator")


def test_a_new_key_leaves_tokens_of_the_one_before_in_force(guarded: Door) -> None:
    callers = Callers(guarded.workspace)
    _, old = callers.add("before", days=1)
    callers.rotate()
    _, new = callers.add("after", days=1)
    assert ask(guarded, old)[0] == ask(guarded, new)[0] == 200
    ids = {jwt.get_unverified_header(token)["kid"] for token in (old, new)}
    assert len(ids) == 2


def test_a_providers_token_counts_and_no_other(guarded: Door) -> None:
    assert ask(guarded, provided())[0] == 200
    late = int(time.time()) - 3600
    for changes in ({"iss": "https://elsewhere"}, {"aud": "other"}, {"aud": None}, {"exp": late}):
        assert ask(guarded, provided(**changes))[0] in (401, 403), changes
    assert ask(guarded, provided(exp=None))[0] == 401
    claims = {"iss": ISSUER, "sub": "eve", "exp": int(time.time()) + 60}
    for forged in (
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        jwt.encode(claims, "the public key as a secret, thirty-two bytes", algorithm="HS256"),
        jwt.encode(claims, PROVIDER, algorithm="ES256", headers={"kid": "p"}),
        "not.a.token",
    ):
        assert ask(guarded, forged)[0] == 401, forged


def test_no_server_sees_a_token_and_no_file_tells_one(guarded: Door) -> None:
    _, token = Callers(guarded.workspace).add("quiet", days=1)
    assert ask(guarded, token)[0] == 200
    signature = token.rpartition(".")[2].encode()
    found = [
        path
        for path in guarded.workspace.root.rglob("*")
        if path.is_file() and signature in path.read_bytes()
    ]
    assert not found
    assert (guarded.workspace.keys / "callers.json").stat().st_mode & 0o077 == 0


def test_too_large_and_too_many_requests_are_refused(guarded: Door) -> None:
    _, token = Callers(guarded.workspace).add("eager", days=1)
    with client() as rest:
        address = f"http://127.0.0.1:{guarded.port}/v2/models/{MODEL}/infer"
        headers = {"authorization": f"Bearer {token}"}
        large = rest.post(address, content=np.zeros(1 << 20).tobytes(), headers=headers)
        assert large.status_code == 413
        before = counted(guarded)
        live = f"http://127.0.0.1:{guarded.port}/v2/health/live"
        statuses = in_parallel(300, 8, lambda _: rest.get(live, headers=headers).status_code)
    assert set(statuses) == {200, 429}
    assert counted(guarded) == before


def test_where_anyone_may_ask_nothing_is_asked_for(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    callers = Callers(workspace)
    _, token = callers.add("early", days=1)
    assert token.count(".") == 2
    callers.withdraw("early")
    assert [one.withdrawn_at is None for one in callers.tokens()] == [False]


@pytest.mark.parametrize("days", [0, -1, 400])
def test_a_token_has_a_bounded_life(tmp_path: Path, days: float) -> None:
    with pytest.raises(UserError, match="a token lasts up to"):
        Callers(make_workspace(tmp_path)).add("app", days)


def test_half_a_provider_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sluice.toml"
    path.write_text('[serving]\nissuer = "https://people.example"\n')
    with pytest.raises(UserError, match="belong together"):
        load_settings(path)
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "EC", "d": "private"}]}')
    settings = '[serving]\ncallers = "tokens"\nissuer = "i"\naudience = "a"\n'
    workspace = make_workspace(tmp_path, settings + 'issuer_keys = "keys.json"\n')
    with pytest.raises(UserError, match="is not a set of public keys"):
        Callers(workspace).publish()
