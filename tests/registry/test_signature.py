from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import IntegrityError, PermanentEngineError
from registry.signature import PRIVATE_FILE, PUBLIC_FILE, ROOT_FILE, SigningKey, VerifyingKey

from .conftest import as_nobody

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

MAKE_KEY = """
import sys
from pathlib import Path
from registry.signature import SigningKey
print("ready", flush=True)
sys.stdin.readline()
print(SigningKey.load_or_create(Path(sys.argv[1])).sign(b"content"), flush=True)
"""


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "keys")


def test_what_was_signed_verifies_with_the_key_on_disk(tmp_path: Path, key: SigningKey) -> None:
    signature = SigningKey.load_or_create(tmp_path / "keys").sign(b"content")
    assert signature == key.sign(b"content")
    VerifyingKey.load(tmp_path / "keys").verify(b"content", signature)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the key is never changed
@given(st.binary(max_size=99), st.data())
def test_one_changed_bit_is_noticed(key: SigningKey, content: bytes, data: st.DataObject) -> None:
    signature = bytearray.fromhex(key.sign(content))
    signature[data.draw(st.integers(0, len(signature) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(IntegrityError):
        key.verifying_key.verify(content, signature.hex())
    with pytest.raises(IntegrityError):
        key.verifying_key.verify(content + b"x", key.sign(content))


@pytest.mark.parametrize(
    "signature", [None, "", "None", "zz", "ab" * 63, 5, ["ab"], "é", "ab" * 65]
)
def test_what_is_no_signature_is_refused(key: SigningKey, signature: Any) -> None:
    with pytest.raises(IntegrityError, match="not this workspace's"):
        key.verifying_key.verify(b"content", signature)


def test_another_workspaces_signature_is_refused(tmp_path: Path, key: SigningKey) -> None:
    other = SigningKey.load_or_create(tmp_path / "other")
    with pytest.raises(IntegrityError):
        key.verifying_key.verify(b"content", other.sign(b"content"))


def test_only_the_owner_may_read_the_key(tmp_path: Path, key: SigningKey) -> None:
    assert key.sign(b"")
    path = tmp_path / "keys" / PRIVATE_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(PermanentEngineError, match="others may read the signing key; chmod 600"):
        SigningKey.load_or_create(tmp_path / "keys")


def test_processes_that_begin_at_once_share_one_key(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        children = [start(MAKE_KEY, folder) for _ in range(3)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        printed = [child.communicate(timeout=20) for child in children]
        assert {error for _, error in printed} == {""}
        signatures = {out for out, _ in printed}
        assert len(signatures) == 1
        VerifyingKey.load(folder).verify(b"content", signatures.pop().strip())


def test_a_pair_that_does_not_match_is_refused(tmp_path: Path, key: SigningKey) -> None:
    assert key.sign(b"")
    SigningKey.load_or_create(tmp_path / "other")
    (tmp_path / "other" / PUBLIC_FILE).replace(tmp_path / "keys" / PUBLIC_FILE)
    with pytest.raises(PermanentEngineError, match="is not the public half"):
        SigningKey.load_or_create(tmp_path / "keys")


def test_a_lost_public_half_is_made_again(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "keys" / PUBLIC_FILE).unlink()
    SigningKey.load_or_create(tmp_path / "keys")
    VerifyingKey.load(tmp_path / "keys").verify(b"content", key.sign(b"content"))


def test_a_lost_private_half_is_not_replaced_in_silence(tmp_path: Path, key: SigningKey) -> None:
    assert key.sign(b"")
    (tmp_path / "keys" / PRIVATE_FILE).unlink()
    with pytest.raises(PermanentEngineError, match="the signing key is gone"):
        SigningKey.load_or_create(tmp_path / "keys")
    assert not (tmp_path / "keys" / PRIVATE_FILE).exists()


def test_one_signature_has_one_spelling(key: SigningKey) -> None:
    signature = key.sign(b"content")
    for spelling in (signature.upper(), f" {signature}", f"{signature[:2]} {signature[2:]}"):
        with pytest.raises(IntegrityError):
            key.verifying_key.verify(b"content", spelling)


def test_files_that_are_no_usable_keys_are_refused(tmp_path: Path, key: SigningKey) -> None:
    assert key.sign(b"")
    private, public = tmp_path / "keys" / PRIVATE_FILE, tmp_path / "keys" / PUBLIC_FILE
    private.write_bytes(b"no key")
    with pytest.raises(PermanentEngineError, match="is not a readable key"):
        SigningKey.load_or_create(tmp_path / "keys")
    rsa = generate_private_key(public_exponent=65_537, key_size=2048)
    private.write_bytes(
        rsa.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(PermanentEngineError, match="is not an ECDSA key"):
        SigningKey.load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / ROOT_FILE).unlink()
    public.write_bytes(
        rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(PermanentEngineError, match="is not an ECDSA key"):
        VerifyingKey.load(tmp_path / "keys")
    public.unlink()
    with pytest.raises(PermanentEngineError, match="no readable public key"):
        VerifyingKey.load(tmp_path / "keys")


def test_a_folder_that_cannot_be_written_is_one_line(open_folder: Path) -> None:
    with (
        as_nobody(),
        pytest.raises(PermanentEngineError, match="cannot write: Permission denied"),
    ):
        SigningKey.load_or_create(open_folder / "keys")
    assert not list(open_folder.iterdir())
