"""Signatures of models as OpenSSF model-signing (OMS) writes them: a Sigstore bundle in `PATH.sig`.

A bundle made here verifies with the `model_signing` program of others. What the program lets pass
is refused here: every file of the folder must be in the signed list whatever list of ignored paths
the bundle brings, the list must be one of whole files by SHA-256, and an authority must be named.
Whom to trust is handed in; this module knows no workspace.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.attestation import PAYLOAD, STATEMENT, decode_base64, pae
from registry.errors import IntegrityError, UserError
from registry.keys import PublicKey
from registry.oms_library import EXTENSION, ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from registry.manifest import Manifest

PREDICATE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 64 << 20
CLOCK_SKEW_S = 86_400.0
"""How far ahead a signer's clock may be: a bundle of the far future would outlast all others."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Who may sign: public keys, certificate authorities, and (identity, issuer) of Sigstore."""

    signers: tuple[PublicKey, ...] = ()
    certificates: tuple[Path, ...] = ()
    keyless: tuple[tuple[str, str], ...] = ()
    sigstore_trust: Path | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed what. `model` and `at` (seconds, UTC) are empty in bundles of other tools.

    `name` is the folder's or the model's when it was signed, `statement` the SHA-256 of what was.
    """

    signer: str
    name: str
    statement: str
    model: str = ""
    at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A plain value, for the journal."""
        return {
            "signer": self.signer,
            "name": self.name,
            "statement": self.statement,
            "model": self.model,
            "at": self.at,
        }


def read_bundle(path: Path) -> bytes:
    """A bundle's bytes. Raises UserError when the file cannot be read or is too large."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise UserError("is too large for a signature", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error


def verify_bundle(
    folder_manifest: Manifest, bundle: bytes, trusted: Trusted, *, at: float, where: str = ""
) -> Signed:
    """Who signed exactly these files, when it is somebody whom `trusted` names.

    `at` is the time now, which a certificate must be valid at. Raises IntegrityError for anything
    else: a signature by somebody else, a file that is missing, extra or changed, a bundle that is
    none.
    """
    try:
        opened = _open(bundle)
        signer = _signer(opened, folder_manifest, trusted, at)
        statement = _json(opened.payload)
        _check_files(_resources(statement), folder_manifest, where)
        signed = _signed(statement, opened.payload, signer, folder_manifest)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=error.where or where, remedy=error.remedy) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError("is not a bundle of model-signing", where=where) from error
    if signed.at is not None and not signed.at <= at + CLOCK_SKEW_S:
        raise IntegrityError("was signed in the future", where=where, remedy="set the clock right")
    return signed


@dataclass(frozen=True, slots=True)
class _Opened:
    """A bundle's parts: what was signed, the signature, and what it is to be checked by."""

    content: bytes
    material: Mapping[str, Any]
    payload: bytes
    signature: bytes


def _open(bundle: bytes) -> _Opened:
    """Raises ValueError, KeyError or TypeError for what is no bundle."""
    document = _json(bundle)
    envelope = document["dsseEnvelope"]
    (signature,) = envelope["signatures"]
    if document["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD:
        raise ValueError("is of another kind")
    return _Opened(
        bundle,
        document["verificationMaterial"],
        decode_base64(envelope["payload"]),
        decode_base64(signature["sig"]),
    )


def _signer(opened: _Opened, manifest: Manifest, trusted: Trusted, at: float) -> str:
    """Whose signature it is. Raises IntegrityError when it is nobody's who is trusted."""
    material = opened.material
    if "publicKey" in material:
        hint = material["publicKey"]["hint"]
        for public in trusted.signers:
            is_named = hashlib.sha256(public.to_pem()).hexdigest() == hint
            if is_named and public.has_signed(pae(opened.payload), opened.signature):
                return f"key {public.id}"
    elif "x509CertificateChain" in material and trusted.certificates:
        return _certificate_signer(opened, manifest, trusted, at)
    elif "certificate" in material and trusted.keyless:
        return _keyless_signer(opened.content, manifest, trusted)
    raise IntegrityError(
        "is not signed by anybody who is trusted", remedy="see [trust] in sluice.toml"
    )


def _certificate_signer(opened: _Opened, manifest: Manifest, trusted: Trusted, at: float) -> str:
    """The library walks the chain; it looks at the time when the certificate began, not at now."""
    from cryptography import x509
    from model_signing import verifying

    checker = verifying.Config()  # type: ignore[no-untyped-call]  # the library's own gap
    checker.use_certificate_verifier(certificate_chain=trusted.certificates)
    ask(checker, opened.content, manifest)
    first = opened.material["x509CertificateChain"]["certificates"][0]
    leaf = x509.load_der_x509_certificate(decode_base64(first["rawBytes"]))
    began, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not began <= at <= ends:
        raise IntegrityError("the signer's certificate is not valid now")
    public = PublicKey(leaf.public_key())  # type: ignore[arg-type]  # the library took it
    if not public.has_signed(pae(opened.payload), opened.signature):
        raise IntegrityError("the signature is not the certificate's")
    return f"certificate {leaf.subject.rfc4514_string()}"


def _keyless_signer(bundle: bytes, manifest: Manifest, trusted: Trusted) -> str:
    """The first trusted identity that Sigstore vouches for."""
    from model_signing import verifying

    refusals = []
    for identity, issuer in trusted.keyless:
        try:
            checker = verifying.Config()  # type: ignore[no-untyped-call]  # the library's own gap
            checker.use_sigstore_verifier(
                identity=identity, oidc_issuer=issuer, trust_config=trusted.sigstore_trust
            )
        except Exception as error:
            raise IntegrityError(
                f"Sigstore's trusted root cannot be had: {type(error).__name__}",
                remedy="name a copy as sigstore_trust in [trust]",
            ) from error
        try:
            ask(checker, bundle, manifest)
        except IntegrityError as error:
            refusals.append(error.what)
            continue
        return f"{identity} by {issuer}"
    raise IntegrityError(f"Sigstore does not vouch for it: {refusals[0]}")


def _json(content: bytes) -> Any:
    """Parse, refusing a key that stands twice: readers do not agree on which counts."""
    return json.loads(content, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _resources(statement: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by path, as signed. Raises IntegrityError for a list that is not of whole files."""
    how = statement["predicate"]["serialization"]
    is_known = statement["_type"] == STATEMENT and statement["predicateType"] == PREDICATE
    if not is_known or (how["method"], how["hash_type"]) != ("files", "sha256"):
        raise IntegrityError(
            "the bundle is not over whole files by SHA-256", remedy="sign it with `sluice sign`"
        )
    if how["allow_symlinks"] is not False:
        raise IntegrityError("the bundle allows symbolic links")
    resources = statement["predicate"]["resources"]
    files = {one["name"]: one["digest"] for one in resources}
    if len(files) != len(resources) or any(one["algorithm"] != "sha256" for one in resources):
        raise IntegrityError("the bundle names a file twice, or by another hash")
    whole = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources))
    (subject,) = statement["subject"]
    if subject["digest"]["sha256"] != whole.hexdigest():
        raise IntegrityError("the bundle's digest is not that of its files")
    return files


def _check_files(signed: Mapping[str, str], manifest: Manifest, where: str) -> None:
    for path in sorted(signed.keys() | manifest.by_path.keys()):
        if path not in manifest.by_path:
            raise IntegrityError(f"{path} is missing", where=where)
        if path not in signed:
            raise IntegrityError(f"{path} is not in the signed list", where=where)
        if manifest.by_path[path].sha256 != signed[path]:
            raise IntegrityError(f"{path} is not the file that was signed", where=where)


def _signed(
    statement: Mapping[str, Any], payload: bytes, signer: str, manifest: Manifest
) -> Signed:
    name = str(statement["subject"][0]["name"])
    digest = hashlib.sha256(payload).hexdigest()
    ours = statement["predicate"].get(EXTENSION)
    if ours is None:
        return Signed(signer, name, digest)
    if ours["digest"] != manifest.digest:
        raise IntegrityError("the signed digest is another one")
    return Signed(signer, name, digest, str(ours["model"]), float(ours["at"]))
