from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.keys import PASSPHRASE_VARIABLE, PrivateKey, PublicKey
from registry.root import Root, RootChain, State, TrustedKey, sealed_by
from registry.rotation import find_key, retire, revoke, rotate
from registry.signature import (
    NEXT_FILE,
    PRIVATE_FILE,
    PUBLIC_FILE,
    ROOT_FILE,
    SigningKey,
    VerifyingKey,
    load_chain,
)

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400.0


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    SigningKey.load_or_create(folder)
    return folder


def change(folder: Path) -> Root:
    return rotate(folder, actor="ann", reason="yearly", at=2e9)


def test_the_same_bytes_have_the_same_signature_and_openssl_takes_it(
    keys: Path, tmp_path: Path
) -> None:
    key = SigningKey.load_or_create(keys)
    signature = key.sign(b"content")
    assert signature == key.sign(b"content")
    (tmp_path / "content").write_bytes(b"content")
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature))
    checked = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", keys / PUBLIC_FILE, "-signature",  # noqa: S607
         tmp_path / "signature", tmp_path / "content"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert checked.stdout == "Verified OK\n"


def test_a_passphrase_encrypts_the_key_with_scrypt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    keys = tmp_path / "keys"
    signature = SigningKey.load_or_create(keys).sign(b"content")
    content = (keys / PRIVATE_FILE).read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in content
    shown = subprocess.run(
        ["openssl", "asn1parse", "-in", keys / PRIVATE_FILE],  # noqa: S607
        capture_output=True, text=True, check=True, timeout=20,
    ).stdout  # fmt: skip
    assert "scrypt" in shown
    assert "aes-256-cbc" in shown
    opened = ["openssl", "pkey", "-in", str(keys / PRIVATE_FILE), "-noout", "-passin"]
    assert subprocess.run([*opened, "pass:correct horse"], check=False).returncode == 0
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    with pytest.raises(PermanentEngineError, match="does not open the key; correct SLUICE_KEY"):
        SigningKey.load_or_create(keys)
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    with pytest.raises(PermanentEngineError, match="is encrypted; set SLUICE_KEY_PASSPHRASE"):
        SigningKey.load_or_create(keys)
    VerifyingKey.load(keys).verify(b"content", signature)


def test_a_key_in_the_clear_is_encrypted_once_there_is_a_passphrase(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = SigningKey.load_or_create(keys).id
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert SigningKey.load_or_create(keys).id == before
    assert b"ENCRYPTED" in (keys / PRIVATE_FILE).read_bytes()
    assert (keys / PRIVATE_FILE).stat().st_mode & 0o777 == 0o600
    assert SigningKey.load_or_create(keys).id == before


def test_both_keys_sign_a_rotation_and_the_old_one_stays_trusted(keys: Path) -> None:
    old = SigningKey.load_or_create(keys)
    signature = old.sign(b"made before")
    root = change(keys)
    new = SigningKey.load_or_create(keys)
    assert (root.version, new.id) == (2, root.signing)
    assert set(root.signatures) == {old.id, new.id}
    assert VerifyingKey.load(keys).verify(b"made before", signature) == old.id
    assert VerifyingKey.load(keys).verify(b"made after", new.sign(b"made after")) == new.id
    assert serialization.load_pem_private_key((keys / PRIVATE_FILE).read_bytes(), None)
    assert PublicKey.from_pem((keys / PUBLIC_FILE).read_bytes(), "").id == new.id
    assert not (keys / NEXT_FILE).exists()


def test_a_retired_key_vouches_only_for_what_was_known(keys: Path) -> None:
    old = SigningKey.load_or_create(keys)
    known, unknown = old.sign(b"known"), old.sign(b"backdated")
    change(keys)
    retire(keys, old.id, signed=[b"known"], actor="ann", reason="", at=2e9)
    trusted = VerifyingKey.load(keys)
    assert trusted.verify(b"known", known) == old.id
    with pytest.raises(IntegrityError, match="was not known when that key was retired"):
        trusted.verify(b"backdated", unknown)
    with pytest.raises(UserError, match="is retired already"):
        retire(keys, old.id, signed=[b"backdated"], actor="ann", reason="", at=2e9)


def test_a_revoked_key_vouches_for_nothing_and_a_new_one_signs(keys: Path) -> None:
    stolen = SigningKey.load_or_create(keys)
    signature = stolen.sign(b"known")
    root = revoke(keys, stolen.id[:9], actor="ann", reason="laptop lost", at=2e9)
    assert root.signing != stolen.id
    assert root.keys[stolen.id].state is State.REVOKED
    with pytest.raises(IntegrityError, match="which was revoked; `sluice keys resign`"):
        VerifyingKey.load(keys).verify(b"known", signature)
    with pytest.raises(UserError, match="is revoked already"):
        revoke(keys, stolen.id, actor="ann", reason="", at=2e9)
    VerifyingKey.load(keys).verify(b"new", SigningKey.load_or_create(keys).sign(b"new"))


def test_a_retired_key_can_still_be_revoked(keys: Path) -> None:
    old = SigningKey.load_or_create(keys)
    signature = old.sign(b"known")
    change(keys)
    retire(keys, old.id, signed=[b"known"], actor="ann", reason="", at=2e9)
    revoke(keys, old.id, actor="ann", reason="found in a backup", at=2e9)
    with pytest.raises(IntegrityError, match="revoked"):
        VerifyingKey.load(keys).verify(b"known", signature)
    assert load_chain(keys).newest.version == 4


def test_the_key_that_signs_is_not_retired_and_a_prefix_must_name_one(keys: Path) -> None:
    key = SigningKey.load_or_create(keys)
    with pytest.raises(UserError, match="signs now; run `sluice keys rotate` first"):
        retire(keys, key.id, signed=[], actor="ann", reason="", at=2e9)
    for prefix in ("", "zz"):
        with pytest.raises(UserError, match="0 keys have an id"):
            find_key(key.chain.newest, prefix)


@pytest.mark.parametrize("died", ["before the chain", "after the chain"])
def test_a_rotation_that_died_leaves_the_old_keys_or_the_new_ones(keys: Path, died: str) -> None:
    old = SigningKey.load_or_create(keys)
    private, public = (keys / PRIVATE_FILE).read_bytes(), (keys / PUBLIC_FILE).read_bytes()
    chain = (keys / ROOT_FILE).read_bytes()
    new = change(keys).signing
    (keys / PRIVATE_FILE).replace(keys / NEXT_FILE)
    (keys / PRIVATE_FILE).write_bytes(private)
    (keys / PRIVATE_FILE).chmod(0o600)
    (keys / PUBLIC_FILE).write_bytes(public)
    if died == "before the chain":
        (keys / ROOT_FILE).write_bytes(chain)
    found = SigningKey.load_or_create(keys)
    assert found.id == (old.id if died == "before the chain" else new)
    VerifyingKey.load(keys).verify(b"content", found.sign(b"content"))
    assert PublicKey.from_pem((keys / PUBLIC_FILE).read_bytes(), "").id == found.id
    assert change(keys).signing != found.id


def test_nothing_new_is_signed_when_the_version_is_over(keys: Path) -> None:
    key = SigningKey.load_or_create(keys)
    signature, ends = key.sign(b"content"), key.chain.newest.expires
    late = SigningKey.load_or_create(keys, clock=lambda: ends)
    with pytest.raises(PermanentEngineError, match="nothing new is signed"):
        late.sign(b"content")
    late.verifying_key.verify(b"content", signature)
    rotate(keys, actor="ann", reason="", at=ends, days=1)
    SigningKey.load_or_create(keys, clock=lambda: ends).sign(b"content")


def test_a_key_of_an_older_workspace_signs_on_until_it_is_rotated(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    path = keys / PRIVATE_FILE
    path.write_bytes(PrivateKey(Ed25519PrivateKey.generate()).to_pem())
    path.chmod(0o600)
    old = SigningKey.load_or_create(keys)
    signature = old.sign(b"content")
    assert old.private.public.kind == "Ed25519"
    change(keys)
    new = SigningKey.load_or_create(keys)
    assert new.private.public.kind == "ECDSA secp256r1"
    assert new.verifying_key.verify(b"content", signature) == old.id


def test_a_curve_that_others_do_not_take_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(PrivateKey(ec.generate_private_key(ec.SECP256K1())).to_pem())
    path.chmod(0o600)
    with pytest.raises(PermanentEngineError, match="is not an ECDSA key on P-256, P-384 or P-521"):
        PrivateKey.load(path)


def forged(chain: RootChain, **named: object) -> RootChain:
    """One more version by somebody who has no key of the workspace but writes the file."""
    thief = PrivateKey.generate()
    newest = chain.newest
    known = {**newest.keys, thief.public.id: TrustedKey(thief.public)}
    root = newest.successor(
        known, signing=thief.public.id, at=0.0, expires=9e9, actor="eve", reason=""
    )
    return RootChain((*chain.versions, replace(root, **named).signed_by(thief)))  # type: ignore[arg-type]  # fields by name


def test_nobody_brings_in_a_key_without_the_one_before(keys: Path) -> None:
    with pytest.raises(IntegrityError, match="version 2"):
        RootChain.from_json(forged(load_chain(keys)).to_json())


def test_no_version_forgets_trusts_again_or_adds_to_what_was_signed(keys: Path) -> None:
    old = SigningKey.load_or_create(keys)
    change(keys)
    retire(keys, old.id, signed=[b"known"], actor="ann", reason="", at=2e9)
    key = SigningKey.load_or_create(keys)
    newest, retired = key.chain.newest, key.chain.newest.keys[old.id]
    for wrong, said in {
        "forgets": {key.id: newest.keys[key.id]},
        "trusts": {**newest.keys, old.id: TrustedKey(retired.public)},
        "adds to": {
            **newest.keys,
            old.id: replace(retired, sealed=retired.sealed | sealed_by([b"backdated"])),
        },
    }.items():
        root = newest.successor(
            said, signing=key.id, at=0.0, expires=9e9, actor="ann", reason=""
        ).signed_by(key.private)
        with pytest.raises(IntegrityError, match=f"version 4 {wrong}"):
            key.chain.extended(root)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10_000_000), bit=st.integers(0, 7))
def test_no_bit_of_the_chain_can_change(keys: Path, at: int, bit: int) -> None:
    if load_chain(keys).newest.version == 1:
        change(keys)
    content = bytearray((keys / ROOT_FILE).read_bytes())
    content[at % len(content)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        RootChain.from_json(bytes(content))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"versions":[]}\n', b'{"versions":[3]}', b"[" * 99_999]
)
def test_what_is_no_chain_is_one_line(keys: Path, content: bytes) -> None:
    (keys / ROOT_FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{ROOT_FILE}: .*; restore it from a copy"):
        VerifyingKey.load(keys)


def test_the_chain_reads_the_same_for_a_machine(keys: Path) -> None:
    document = json.loads((keys / ROOT_FILE).read_bytes())
    signed = document["versions"][0]["signed"]
    assert (signed["version"], signed["previous"], signed["type"]) == (1, "", "sluice-root")
    assert signed["expires"] - signed["at"] == pytest.approx(400 * DAY_S)
