"""All that journals name and a key of the workspace signed: to seal it, or to sign it again.

A thing counts only when it is what the journal says by digest, so nothing is sealed or signed again
on the word of its own file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model_repository.layout import ReleaseLayout
from pipelines.attesting import ATTESTATION
from pipelines.serving_pointer import last_pointer, pointer_file
from registry.attestation import pae, seal
from registry.errors import IntegrityError
from registry.files import canonical_json, write_atomic
from registry.manifest import Manifest
from registry.pointer import Pointer, sign_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.journal import Entry
    from registry.signature import SigningKey, VerifyingKey


@dataclass(frozen=True, slots=True)
class SignedThing:
    """`content` is what `signature` (hex) in the file at `path` is over."""

    name: str
    path: Path
    content: bytes
    signature: str
    document: Any

    def signed_again(self, key: SigningKey) -> bytes:
        """The file's bytes with a new signature over the same content."""
        if isinstance(self.document, Pointer):
            return sign_pointer(self.document, key)
        if isinstance(self.document, bytes):
            return seal(self.document, key)
        return release_record(self.document, key.sign(self.content))


def signed_things(platform: Platform) -> Iterator[SignedThing]:
    """Every release record, attestation and pointer of every model that is what was journaled.

    Raises IntegrityError when a journal's chain breaks.
    """
    for model in platform.journal.models():
        platform.journal.verify(model)
        seen, entries = set(), platform.journal.read(model)
        for entry in entries:
            for thing in _of_entry(platform, model, entry):
                if thing.path not in seen:
                    seen.add(thing.path)
                    yield thing
        yield from _pointers(platform, model, last_pointer(entries))


def signed_by(platform: Platform, key: str) -> list[SignedThing]:
    """What the key with this id signed, of all that the journals name."""
    keys = platform.signing_key.verifying_key
    found = []
    for thing in signed_things(platform):
        signer = keys.signer(thing.content, thing.signature)
        if signer is not None and signer.id == key:
            found.append(thing)
    return found


def sign_again(
    platform: Platform, *, tell: Callable[[list[str]], None] = lambda _: None
) -> list[str]:
    """Sign by the key that signs now what an earlier one signed that counts no more.

    Returns the names of it; `tell` is given them before the first is signed, if there are any.
    Raises IntegrityError when a journal's chain breaks, before anything is signed.
    """
    key = platform.signing_key
    things = [
        thing for thing in signed_things(platform) if _lost_its_worth(key.verifying_key, thing)
    ]
    names = [thing.name for thing in things]
    if names:
        tell(names)
    for thing in things:
        write_atomic(thing.path, thing.signed_again(key), mode=0o644)
    return names


def _lost_its_worth(keys: VerifyingKey, thing: SignedThing) -> bool:
    """Whether a key of this workspace signed it, and that does not count any more."""
    if keys.signer(thing.content, thing.signature) is None:
        return False
    try:
        keys.verify(thing.content, thing.signature)
    except IntegrityError:
        return True
    return False


def release_record(signed: Any, signature: str) -> bytes:
    """A release's record as publishing writes it."""
    return canonical_json({"record": signed, "signature": signature}) + b"\n"


def _of_entry(platform: Platform, model: str, entry: Entry) -> Iterator[SignedThing]:
    if digest := entry.body.get(ATTESTATION):
        store = platform.attestations
        try:
            payload, signature = store.payload(digest), store.signature(digest)
        except IntegrityError:
            payload = b""
        if payload:
            name = f"{entry.kind} {model} {digest[:12]}"
            yield SignedThing(name, store.path(digest), pae(payload), signature, payload)
    if entry.kind == "release-published":
        found = _release(platform, model, entry)
        if found is not None:
            yield found


def _pointers(platform: Platform, model: str, known: Pointer | None) -> Iterator[SignedThing]:
    """The serving pointer, if its file holds the newest one that was journaled."""
    path = pointer_file(platform.workspace, model)
    try:
        document = json.loads(path.read_bytes())
        signed, signature = document["signed"], str(document["signature"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    if known is not None and signed == asdict(known):
        content = canonical_json(signed)
        yield SignedThing(f"pointer {model} {known.sequence}", path, content, signature, known)


def _release(platform: Platform, model: str, entry: Entry) -> SignedThing | None:
    release = int(entry.body["release"])
    places = platform.workspace
    path = ReleaseLayout(places.repository, model, release).record(places.releases)
    try:
        document = json.loads(path.read_bytes())
        signed, signature = document["record"], str(document["signature"])
        manifest = Manifest.from_json(canonical_json(signed["manifest"]))
        named = (signed["model"], signed["release"], manifest.digest)
        content = canonical_json(signed)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, IntegrityError):
        return None
    if named != (model, release, entry.body["manifest_digest"]):
        return None
    return SignedThing(f"release {model}/{release}", path, content, signature, signed)
