from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.attestation import (
    PAYLOAD,
    PROVENANCE,
    STATEMENT,
    AttestationStore,
    Statement,
    pae,
    seal,
)
from registry.errors import IntegrityError, UserError
from registry.rotation import revoke, rotate
from registry.signature import SigningKey, VerifyingKey

if TYPE_CHECKING:
    from pathlib import Path

SAID = Statement(PROVENANCE, {"onnx-int8": "ab" * 32}, {"runDetails": {"builder": {"id": "é"}}})


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path) -> AttestationStore:
    return AttestationStore(tmp_path / "attestations")


def test_what_was_stated_is_read_back(store: AttestationStore, key: SigningKey) -> None:
    digest = store.add(SAID, key)
    assert store.read(digest, key.verifying_key) == SAID
    before = store.path(digest).read_bytes()
    assert store.add(SAID, key) == digest
    assert store.path(digest).read_bytes() == before


def test_the_libraries_of_dsse_and_in_toto_read_it(
    store: AttestationStore, key: SigningKey
) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import (  # type: ignore[import-untyped]  # ships no types
        statement_pb2,
    )
    from in_toto_attestation.v1.statement import (  # type: ignore[import-untyped]  # ships no types
        Statement as TheirStatement,
    )
    from securesystemslib.dsse import Envelope

    document = json.loads(store.path(store.add(SAID, key)).read_bytes())
    envelope = Envelope.from_dict(document)
    assert envelope.pae() == pae(SAID.content())
    assert envelope.payload_type == PAYLOAD
    (signature,) = envelope.signatures.values()
    assert key.verifying_key.verify(envelope.pae(), signature.signature) == signature.keyid
    parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
    theirs = TheirStatement.copy_from_pb(parsed)
    theirs.validate()
    assert theirs.pb.type == STATEMENT


def test_pae_is_that_of_the_specification() -> None:
    """The DSSE protocol's own example has another type, so the form is checked by hand."""
    assert pae(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 1_000_000), bit=st.integers(0, 7))
def test_no_bit_of_an_attestation_can_change(
    store: AttestationStore, key: SigningKey, at: int, bit: int
) -> None:
    digest = store.add(SAID, key)
    path = store.path(digest)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        store.read(digest, key.verifying_key)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig"]), inner
            )
        ),
        max_leaves=9,
    )
)
def test_whatever_stands_in_its_place_is_refused(
    store: AttestationStore, key: SigningKey, value: Any
) -> None:
    path = store.path("cd" * 32)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
    with pytest.raises(IntegrityError):
        store.read("cd" * 32, key.verifying_key)


def test_another_spelling_of_the_same_envelope_is_refused(
    store: AttestationStore, key: SigningKey
) -> None:
    digest = store.add(SAID, key)
    path = store.path(digest)
    document = json.loads(path.read_bytes())
    path.chmod(0o644)
    path.write_text(json.dumps(document, indent=1))
    with pytest.raises(IntegrityError, match="is not an attestation as Sluice writes it"):
        store.read(digest, key.verifying_key)


def test_another_statement_under_its_name_is_refused(
    store: AttestationStore, key: SigningKey
) -> None:
    digest = store.add(SAID, key)
    other = Statement(PROVENANCE, {"onnx-int8": "cd" * 32}, {})
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(seal(other.content(), key))
    with pytest.raises(IntegrityError, match="is not the statement that the journal names"):
        store.read(digest, key.verifying_key)


def test_a_strangers_and_a_revoked_keys_statements_are_refused(
    store: AttestationStore, key: SigningKey, tmp_path: Path
) -> None:
    stranger = SigningKey.load_or_create(tmp_path / "other")
    digest = store.add(SAID, stranger)
    with pytest.raises(IntegrityError, match="the signature is not this workspace's"):
        store.read(digest, key.verifying_key)
    store.add(SAID, key)
    rotate(tmp_path / "keys", actor="ann", reason="", at=2e9)
    assert store.read(digest, VerifyingKey.load(tmp_path / "keys")) == SAID
    revoke(tmp_path / "keys", key.id, actor="ann", reason="", at=2e9)
    with pytest.raises(IntegrityError, match="which was revoked"):
        store.read(digest, VerifyingKey.load(tmp_path / "keys"))


def test_the_named_key_is_the_one_that_signed(store: AttestationStore, key: SigningKey) -> None:
    digest = store.add(SAID, key)
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(key.id.encode(), b"0" * 64))
    with pytest.raises(IntegrityError, match="names another key than the one that signed it"):
        store.read(digest, key.verifying_key)


def test_a_missing_one_is_said_to_be_and_a_wrong_name_refused(
    store: AttestationStore, key: SigningKey
) -> None:
    with pytest.raises(IntegrityError, match="the attestation is missing"):
        store.read("ab" * 32, key.verifying_key)
    for name in ("../keys", "AB" * 32, ""):
        with pytest.raises(UserError, match="is not a digest"):
            store.read(name, key.verifying_key)


def test_a_payload_that_is_no_statement_is_refused(
    store: AttestationStore, key: SigningKey
) -> None:
    import hashlib

    for payload in (b"", b"[]", b'{"_type":"other"}', base64.b64encode(b"x")):
        digest = hashlib.sha256(payload).hexdigest()
        store.path(digest).parent.mkdir(exist_ok=True)
        store.path(digest).write_bytes(seal(payload, key))
        with pytest.raises(IntegrityError, match="is not a statement"):
            store.read(digest, key.verifying_key)
