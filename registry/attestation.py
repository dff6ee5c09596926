"""Attestations: signed statements about what was made, by which process, of what.

Each is an in-toto Statement (v1) in a DSSE envelope (v1), signed by the workspace's key and kept as
one file named by its payload's SHA-256, which the journal holds. The envelope is canonical JSON
with strict base64: of one statement and signature there is one file, so no byte can change unseen.
It judges nothing: what a statement must say is asked by who walks the chain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json, write_atomic
from registry.manifest import is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from registry.signature import SigningKey, VerifyingKey

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
GATE = "urn:sluice:gate:v1"
RELEASE = "urn:sluice:release:v1"
CONVERSION = "urn:sluice:conversion:v1"
"""SLSA's `buildType` of a conversion."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said (`predicate`, of type `kind`) about bytes: `subjects` are SHA-256 by name."""

    kind: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, Any]

    def content(self) -> bytes:
        """The payload: canonical JSON."""
        subjects = [
            {"name": name, "digest": {"sha256": digest}} for name, digest in self.subjects.items()
        ]
        return canonical_json(
            {
                "_type": STATEMENT,
                "subject": subjects,
                "predicateType": self.kind,
                "predicate": dict(self.predicate),
            }
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the payload, in hex: the name under which the journal knows it."""
        return hashlib.sha256(self.content()).hexdigest()

    @classmethod
    def from_content(cls, content: bytes) -> Statement:
        """Read a payload. Raises ValueError, KeyError or TypeError for anything else."""
        document = json.loads(content)
        if document["_type"] != STATEMENT:
            raise ValueError("is not a statement")
        subjects = {one["name"]: one["digest"]["sha256"] for one in document["subject"]}
        predicate = document["predicate"]
        if not isinstance(predicate, dict) or not all(map(is_digest, subjects.values())):
            raise ValueError("is not a statement")
        return cls(str(document["predicateType"]), subjects, predicate)


class AttestationStore:
    """Envelopes by the digest of what they say, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """The file of one statement. Raises UserError for what is no digest."""
        if not is_digest(digest):
            raise UserError(f"{digest!r} is not a digest", remedy="it has 64 hex digits")
        return self._root / f"{digest}.json"

    def add(self, statement: Statement, key: SigningKey) -> str:
        """Sign and keep a statement; returns its digest. Again with the same key changes nothing.

        Raises PermanentEngineError when the disk refuses or the key signs nothing any more.
        """
        content = seal(statement.content(), key)
        write_atomic(self.path(statement.digest), content, mode=0o444)
        return statement.digest

    def read(self, digest: str, keys: VerifyingKey) -> Statement:
        """The statement, when its signature counts.

        Raises IntegrityError when it is missing, changed, or signed by a key that is not trusted.
        """
        path = self.path(digest)
        payload = self.payload(digest)
        envelope = json.loads(path.read_bytes())
        try:
            signer = keys.verify(pae(payload), _signature(envelope).hex())
            _check_named(envelope, signer)
            return Statement.from_content(payload)
        except IntegrityError as error:
            raise IntegrityError(error.what, where=str(path), remedy=error.remedy) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError("is not a statement", where=str(path)) from error

    def payload(self, digest: str) -> bytes:
        """What a file says, its signature not checked. Raises IntegrityError."""
        path = self.path(digest)
        try:
            content = path.read_bytes()
            envelope = json.loads(content)
            payload = decode_base64(envelope["payload"])
            _signature(envelope)
            is_ours = canonical_json(envelope) + b"\n" == content and set(envelope) == _FIELDS
        except OSError as error:
            raise IntegrityError("the attestation is missing", where=str(path)) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError("is not an attestation", where=str(path)) from error
        if not is_ours or envelope["payloadType"] != PAYLOAD:
            raise IntegrityError("is not an attestation as Sluice writes it", where=str(path))
        if hashlib.sha256(payload).hexdigest() != digest:
            raise IntegrityError("is not the statement that the journal names", where=str(path))
        return payload

    def signature(self, digest: str) -> str:
        """Its signature, in hex, not checked. Raises IntegrityError as `payload` does."""
        self.payload(digest)
        return _signature(json.loads(self.path(digest).read_bytes())).hex()


_FIELDS = {"payload", "payloadType", "signatures"}


def seal(payload: bytes, key: SigningKey) -> bytes:
    """The envelope of a payload: canonical JSON, signed by `key`."""
    signature = base64.b64encode(bytes.fromhex(key.sign(pae(payload)))).decode()
    return (
        canonical_json(
            {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD,
                "signatures": [{"keyid": key.id, "sig": signature}],
            }
        )
        + b"\n"
    )


def pae(payload: bytes) -> bytes:
    """What a DSSE signature is over: the pre-authentication encoding of its specification, v1.0."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _check_named(envelope: Mapping[str, Any], signer: str) -> None:
    if envelope["signatures"][0]["keyid"] != signer:
        raise IntegrityError("names another key than the one that signed it")


def _signature(envelope: Mapping[str, Any]) -> bytes:
    (signature,) = envelope["signatures"]
    if set(signature) != {"keyid", "sig"} or not is_digest(signature["keyid"]):
        raise ValueError("is not a signature")
    return decode_base64(signature["sig"])


def decode_base64(text: str) -> bytes:
    """The bytes of base64 in its one spelling. Raises ValueError or TypeError for another."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("is not base64 in its one spelling")
    return raw
