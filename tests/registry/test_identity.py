from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from registry.errors import RetryableEngineError, UserError
from registry.identity import Identity, identify, verify_token
from registry.identity_keys import FRESH_S, STALE_S, issuer_keys
from registry.origin import ci_run, process_origin
from registry.workspace import Workspace

from ..http_server import Request, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ISSUER = "https://id.example"
AUDIENCE = "sluice"


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_set(**changes: Any) -> dict[str, Any]:
    """The issuer's public keys: `r` for RS256 and `e` for ES256."""
    rsa_jwk = json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key()))
    ec_jwk = json.loads(ECAlgorithm.to_jwk(ec_key().public_key()))
    return {"keys": [rsa_jwk | {"kid": "r"} | changes, ec_jwk | {"kid": "e", "use": "sig"}]}


def token(algorithm: str = "RS256", kid: str | None = "r", key: Any = None, **claims: Any) -> str:
    now = int(time.time())
    known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
    content = {name: value for name, value in (known | claims).items() if value is not None}
    headers = {"kid": kid} if kid is not None else {}
    signing = key or (ec_key() if algorithm == "ES256" else rsa_key())
    return jwt.encode(content, signing, algorithm=algorithm, headers=headers)


def raw_token(
    header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]
) -> str:
    """As an attacker writes it, whose library refuses nothing."""
    parts = [_base64(json.dumps(part).encode()) for part in (header, claims)]
    content = ".".join(parts)
    return f"{content}.{_base64(sign(content.encode()))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims(given: str, keys: dict[str, Any] | None = None) -> dict[str, Any]:
    return verify_token(given, keys or key_set(), issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize(("algorithm", "kid"), [("RS256", "r"), ("ES256", "e")])
def test_a_token_of_the_issuer_names_its_subject(algorithm: str, kid: str) -> None:
    assert claims(token(algorithm, kid))["sub"] == "ann"


GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": 2**40}


def public_pem() -> bytes:
    return (
        rsa_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda: raw_token({"alg": "none", "kid": "r"}, GOOD, lambda _: b""), "'none'"),
        (lambda: raw_token({"alg": "None", "kid": "r"}, GOOD, lambda _: b""), "'None'"),
        (
            # The public key, which everybody knows, as the secret of a symmetric signature.
            lambda: raw_token(
                {"alg": "HS256", "kid": "r"},
                GOOD,
                lambda text: hmac.digest(public_pem(), text, hashlib.sha256),
            ),
            "'HS256'",
        ),
        (lambda: token("RS384"), "'RS384'"),
        (lambda: token("PS256"), "'PS256'"),
        (lambda: token("ES256", "r"), "its key is for something else"),
        (lambda: token("RS256", "e"), "its key is for something else"),
        (lambda: token(key=rsa.generate_private_key(65537, 2048)), "Signature verification failed"),
        (lambda: token(iss="https://evil.example"), "issuer"),
        (lambda: token(iss=None), '"iss"'),
        (lambda: token(aud="other"), "udience"),
        (lambda: token(aud=None), '"aud"'),
        (lambda: token(exp=int(time.time()) - 60), "expired"),
        (lambda: token(exp=None), '"exp"'),
        (lambda: token(nbf=int(time.time()) + 60), "not yet valid"),
        (lambda: token()[:-8] + "AAAAAAAA", "does not hold"),
        (lambda: "no.token", "does not hold"),
        (lambda: "é", "does not hold"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(given: Callable[[], str], expected: str) -> None:
    made = given()
    with pytest.raises(UserError) as caught:
        claims(made)
    assert expected in str(caught.value)
    assert made not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_clocks_may_differ_a_little() -> None:
    claims(token(exp=int(time.time()) - 10, nbf=int(time.time()) + 10))


@pytest.mark.parametrize("changes", [{"kid": "x"}, {"use": "enc"}])
def test_an_unknown_key_is_no_key(changes: dict[str, str]) -> None:
    for made in (token(), token(kid=None)):
        with pytest.raises(KeyError):
            claims(made, key_set(**changes))


def test_a_symmetric_or_a_short_key_in_the_set_is_of_no_use() -> None:
    secret = {"kty": "oct", "k": _base64(b"s" * 32), "kid": "r"}
    signed = jwt.encode(GOOD, b"s" * 32, algorithm="HS256", headers={"kid": "r"})
    for made in (signed, token()):
        with pytest.raises(UserError):
            claims(made, {"keys": [secret]})
    short = json.loads(RSAAlgorithm.to_jwk(rsa_key(1024).public_key())) | {"kid": "r"}
    header = {"alg": "RS256", "kid": "r"}
    forged = raw_token(
        header, GOOD, lambda text: RSAAlgorithm(RSAAlgorithm.SHA256).sign(text, rsa_key(1024))
    )
    with pytest.raises(UserError, match="2048"):
        claims(forged, {"keys": [short]})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path, key_set())


def made(folder: Path, keys: Any, *lines: str, jwks: str = "keys.json") -> Workspace:
    (folder / "keys.json").write_text(json.dumps(keys))
    section = ["[identity]", f'issuer = "{ISSUER}"', f'audience = "{AUDIENCE}"', f'jwks = "{jwks}"']
    (folder / "sluice.toml").write_text("\n".join([*section, *lines]))
    return Workspace(folder)


def test_the_token_says_who_acts_and_in_which_groups(workspace: Workspace) -> None:
    environment = {"SLUICE_ID_TOKEN": token(groups=["sre", "ml"]), "SLUICE_ACTOR": "somebody"}
    assert identify(workspace, environment) == Identity(
        "ann", "oidc", ISSUER, frozenset({"sre", "ml"})
    )
    assert identify(workspace, {"SLUICE_ACTOR": "bob"}) == Identity("bob")


def test_claims_are_chosen_by_the_workspace(tmp_path: Path) -> None:
    chosen = made(tmp_path, key_set(), 'username = "email"', 'groups = "repository"')
    given = token(email="ann@example.org", repository="org/models")
    found = identify(chosen, {"SLUICE_ID_TOKEN": given})
    assert (found.actor, found.groups) == ("ann@example.org", frozenset({"org/models"}))
    with pytest.raises(UserError, match="names nobody in its claim 'email'"):
        identify(chosen, {"SLUICE_ID_TOKEN": token()})
    for wrong in ({"sre": 1}, [1]):
        bad = token(email="ann", repository=wrong)
        with pytest.raises(UserError, match="no list of names"):
            identify(chosen, {"SLUICE_ID_TOKEN": bad})


def test_a_token_may_lie_in_a_file(workspace: Workspace) -> None:
    path = workspace.root / "token"
    path.write_text(token() + "\n")
    assert identify(workspace, {"SLUICE_ID_TOKEN_FILE": str(path)}).actor == "ann"
    for content in (b"", b"x" * 20_000, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(UserError):
            identify(workspace, {"SLUICE_ID_TOKEN_FILE": str(path)})
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        identify(workspace, {"SLUICE_ID_TOKEN_FILE": str(path)})


def test_a_bad_token_never_falls_back_to_a_name(workspace: Workspace) -> None:
    environment = {"SLUICE_ID_TOKEN": token(aud="other"), "SLUICE_ACTOR": "ann"}
    with pytest.raises(UserError, match="udience"):
        identify(workspace, environment)
    with pytest.raises(UserError, match="a key that the issuer does not name"):
        identify(workspace, {"SLUICE_ID_TOKEN": token(kid="z")})


def test_a_token_without_an_issuer_to_check_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").write_text("")
    with pytest.raises(UserError, match="no \\[identity\\] issuer"):
        identify(Workspace(tmp_path), {"SLUICE_ID_TOKEN": token()})


def test_where_a_token_is_required_no_name_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = made(tmp_path, key_set(), "required = true")
    with pytest.raises(UserError, match="wants a verified identity"):
        identify(strict, {"SLUICE_ACTOR": "ann"})
    assert identify(strict, {"SLUICE_ID_TOKEN": token()}).known_by == "oidc"
    # The actor cannot switch that off by the environment.
    monkeypatch.setenv("SLUICE_IDENTITY__REQUIRED", "false")
    with pytest.raises(UserError, match="not taken from the environment"):
        identify(Workspace(tmp_path), {"SLUICE_ACTOR": "ann"})


@pytest.mark.parametrize(
    "text", ["required = true", 'issuer = "x"', 'issuer="x"\naudience="y"\njwks="http://far/keys"']
)
def test_half_an_identity_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sluice.toml").write_text(f"[identity]\n{text}\n")
    with pytest.raises(UserError, match=r"sluice\.toml:"):
        identify(Workspace(tmp_path), {"SLUICE_ACTOR": "ann"})


class Issuer:
    """A real server on this machine that answers with what it is told to."""

    def __init__(self) -> None:
        self.status, self.content, self.asked = 200, b"", 0
        self.address = ""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()

    def reply(request: Request) -> None:
        made.asked += 1
        request.answer(made.status, made.content, Content_Type="application/json")

    with serving(reply) as address:
        made.address = f"{address}/keys"
        yield made


def grow_older(workspace: Workspace, by_s: float) -> None:
    (kept,) = workspace.run.glob("identity-keys-*.json")
    then = time.time() - by_s
    os.utime(kept, (then, then))


def test_keys_are_fetched_once_in_a_while(tmp_path: Path, issuer: Issuer) -> None:
    workspace = made(tmp_path, {}, jwks=issuer.address)
    issuer.content = json.dumps(key_set()).encode()
    environment = {"SLUICE_ID_TOKEN": token()}
    for _ in range(3):
        assert identify(workspace, environment).actor == "ann"
    assert issuer.asked == 1
    grow_older(workspace, FRESH_S + 1)
    identify(workspace, environment)
    assert issuer.asked == 2


def test_a_new_key_of_the_issuer_is_found_at_once(tmp_path: Path, issuer: Issuer) -> None:
    workspace = made(tmp_path, {}, jwks=issuer.address)
    issuer.content = json.dumps(key_set(kid="old")).encode()
    issuer_keys(workspace, issuer.address)
    grow_older(workspace, 10)
    issuer.content = json.dumps(key_set()).encode()
    assert identify(workspace, {"SLUICE_ID_TOKEN": token()}).actor == "ann"
    assert issuer.asked == 2
    # Nor can a stream of made-up names of keys make this machine ask without end.
    for _ in range(3):
        with pytest.raises(UserError, match="does not name"):
            identify(workspace, {"SLUICE_ID_TOKEN": token(kid="z")})
    assert issuer.asked == 2


def test_kept_keys_do_while_the_issuer_is_away_for_a_day(tmp_path: Path, issuer: Issuer) -> None:
    workspace = made(tmp_path, {}, jwks=issuer.address)
    issuer.status = 503
    with pytest.raises(RetryableEngineError, match="answered 503"):
        issuer_keys(workspace, issuer.address)
    issuer.status, issuer.content = 200, json.dumps(key_set()).encode()
    issuer_keys(workspace, issuer.address)
    for content in (b"<html>", b"[]", b'{"keys": 1}', b"x" * (2 << 20)):
        issuer.content = content
        grow_older(workspace, STALE_S - 60)
        assert issuer_keys(workspace, issuer.address)["keys"]
        grow_older(workspace, STALE_S + 60)
        with pytest.raises(RetryableEngineError, match="the issuer gave no keys"):
            issuer_keys(workspace, issuer.address)


def test_an_issuer_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.identity_keys.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        began = time.monotonic()
        with pytest.raises(RetryableEngineError, match="ReadTimeout"):
            issuer_keys(made(tmp_path, {}, jwks=address), address)
        assert time.monotonic() - began < 5


def test_an_entry_says_which_ci_run_it_came_from() -> None:
    github = {"GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "org/models"}
    assert ci_run(github) == "https://github.com/org/models/actions/runs/7"
    jenkins = {"BUILD_URL": "https://me:secret@ci.example/job/9/?token=secret"}
    assert ci_run(jenkins) == "https://ci.example/job/9/"
    assert ci_run({"BUILD_URL": "javascript:alert(1)"}) == ci_run({}) == ""
    assert process_origin(github)["run"].endswith("/7")  # type: ignore[union-attr]
    assert set(process_origin({})) == {"host", "process"}
