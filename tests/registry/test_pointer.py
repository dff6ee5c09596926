from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import IntegrityError
from registry.pointer import LARGEST_JUMP, Pointer, read_pointer, sign_pointer
from registry.signature import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_000_000.0
POINTER = Pointer("speech", 7, 3, "a" * 64, NOW - 10, NOW + 1000)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("keys"))


def read(content: bytes, key: SigningKey, **named: Any) -> Pointer:
    return read_pointer(content, key.verifying_key, **{"model": "speech", "now": NOW, **named})


def test_what_was_signed_is_read(key: SigningKey) -> None:
    content = sign_pointer(POINTER, key)
    assert read(content, key) == POINTER
    assert read(content, key, seen=7) == POINTER
    assert content == sign_pointer(POINTER, key)


@pytest.mark.parametrize(
    ("changes", "named", "message"),
    [
        ({}, {"seen": 8}, "pointer 7 is older than pointer 8"),
        ({}, {"now": NOW + 1000}, "pointer 7 is over"),
        ({}, {"model": "other"}, "the pointer is speech's"),
        ({"sequence": 2 + LARGEST_JUMP}, {"seen": 1}, "is too far beyond pointer 1"),
        ({"signed_at": NOW + 400}, {}, "is from the future"),
        ({"sequence": 0}, {}, "is not a serving pointer"),
        ({"release": -1}, {}, "is not a serving pointer"),
        ({"manifest_digest": "A" * 64}, {}, "is not a serving pointer"),
        ({"expires_at": NOW - 20}, {}, "is not a serving pointer"),
    ],
)
def test_what_cannot_be_believed_is_refused(
    key: SigningKey, changes: dict[str, Any], named: dict[str, Any], message: str
) -> None:
    content = sign_pointer(replace(POINTER, **changes), key)
    with pytest.raises(IntegrityError, match=message):
        read(content, key, **named)


def test_the_first_look_takes_any_number_and_a_later_one_a_few_more(key: SigningKey) -> None:
    far = sign_pointer(replace(POINTER, sequence=10**6), key)
    assert read(far, key).sequence == 10**6
    assert read(far, key, seen=10**6 - LARGEST_JUMP).sequence == 10**6


def test_a_strangers_signature_does_not_count(key: SigningKey, tmp_path: Path) -> None:
    stranger = SigningKey.load_or_create(tmp_path)
    with pytest.raises(IntegrityError, match="is not this workspace's"):
        read(sign_pointer(POINTER, stranger), key)


@given(st.data())
def test_no_changed_byte_is_believed(key: SigningKey, data: st.DataObject) -> None:
    content = bytearray(sign_pointer(POINTER, key))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(content), key)
    except IntegrityError:
        return
    assert found == POINTER  # white space at the end, or the same signature in other letters
    assert json.loads(content)["signed"] == json.loads(sign_pointer(POINTER, key))["signed"]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_refused_as_what_it_is(key: SigningKey, content: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(content, key)


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b'{"signed": [], "signature": 3}', b"9" * 5000]
)
def test_json_of_another_shape_is_refused(key: SigningKey, content: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not a serving pointer"):
        read(content, key)
