"""Whether a folder from outside may come in: `[trust]` of the workspace, its signature, its past.

OMS signs names and bytes of files. What it leaves open is closed here: empty folders, modes, a
bundle of another model under a new name, and a bundle that was replaced by a newer one.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError, UserError
from registry.keys import PublicKey
from registry.manifest import Manifest
from registry.oms import Trusted, read_bundle, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.oms import Signed
    from registry.workspace import Workspace

_ODD = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def signature_of(folder: Path) -> Path:
    """`PATH.sig`: the bundle lies beside the folder, for in it, it would sign itself."""
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}.sig")


def trusted_by(workspace: Workspace) -> Trusted:
    """Whom `[trust]` names. Raises UserError for a file that is not there or no public key."""
    trust = workspace.settings.trust
    return Trusted(
        tuple(load_public(workspace.root / name) for name in trust.signers),
        tuple(_existing(workspace.root / name) for name in trust.certificates),
        tuple((one.identity, one.issuer) for one in trust.keyless),
        _existing(workspace.root / trust.sigstore_trust) if trust.sigstore_trust else None,
    )


def load_public(path: Path) -> PublicKey:
    """A public key, PEM. Raises UserError when it is missing, PermanentEngineError for no key."""
    return PublicKey.from_pem(_existing(path).read_bytes(), str(path))


def check_source(
    workspace: Workspace,
    model: str,
    source: Path,
    manifest: Manifest,
    *,
    unpacked: Path | None = None,
    signature: Path | None = None,
    earlier: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """Who signed the folder that is to be registered, for its journal entry; None: nobody did.

    `source` is the folder, or an archive whose files are in `unpacked`; `manifest` is that of the
    stored copy, `signature` the bundle (default: `SOURCE.sig`, if it is there), and `earlier` are
    the bodies of the model's `artifact-registered` entries, in order. Raises UserError when a
    signature is required and missing, IntegrityError when it does not count.
    """
    bundle = signature or signature_of(source)
    if signature is None and not bundle.exists():
        if workspace.settings.trust.require_signature:
            raise UserError(
                "is not signed, and [trust] requires it",
                where=str(source),
                remedy="`sluice sign` it with a key that [trust] names",
            )
        return None
    refuse_unsigned_parts(unpacked or source)
    content, trusted = read_bundle(bundle), trusted_by(workspace)
    signed = verify_bundle(manifest, content, trusted, at=time.time(), where=str(bundle))
    refuse_other_name(signed, model, source)
    refuse_replay(signed, [body["signature"] for body in earlier if body.get("signature")])
    return signed.to_dict()


def verify_folder(
    folder: Path, bundle: Path, trusted: Trusted, *, at: float, model: str = ""
) -> tuple[Signed, Manifest]:
    """Who signed the folder as it is now, and its manifest. Raises IntegrityError or UserError.

    With `model`, it must be signed for that one; else under the folder's name or for any model.
    """
    content = read_bundle(bundle)
    refuse_unsigned_parts(folder)
    try:
        manifest = Manifest.of_folder(folder)
    except UserError as error:
        raise IntegrityError(error.what, where=error.where, remedy=error.remedy) from error
    signed = verify_bundle(manifest, content, trusted, at=at, where=str(bundle))
    refuse_other_name(signed, model or signed.model, folder)
    return signed, manifest


def refuse_unsigned_parts(folder: Path) -> None:
    """Raise IntegrityError for what no list of files shows: empty folders, programs, set-id bits.

    Which of its owner, group or others may read or write a file is not looked at: copying changes
    that, and the store keeps content only.
    """
    for root, folders, files in os.walk(folder):
        if not folders and not files:
            raise IntegrityError("an empty folder is in no signature", where=root)
        for name in files:
            path = Path(root) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & _ODD:
                raise IntegrityError(
                    f"has mode {stat.S_IMODE(mode):04o}", where=str(path), remedy="chmod 644 it"
                )


def refuse_other_name(signed: Signed, model: str, source: Path) -> None:
    """Raise IntegrityError when the bundle was made for another model.

    One that names no model names the folder that was signed, which must be called as it was; an
    archive is called as the folder in it.
    """
    if signed.model:
        if signed.model != model:
            raise IntegrityError(f"was signed for model {signed.model!r}, not for {model!r}")
        return
    name = source.absolute().name
    if signed.name not in {model, name if source.is_dir() else name.partition(".")[0]}:
        raise IntegrityError(
            f"was signed under the name {signed.name!r}",
            where=str(source),
            remedy="call the folder that, or sign it for this model",
        )


def refuse_replay(signed: Signed, earlier: list[Mapping[str, Any]]) -> None:
    """Raise IntegrityError for a bundle that a newer one of the same model has replaced.

    One that was never seen and holds no time cannot be told from a new one.
    """
    seen = [one["statement"] for one in earlier]
    if seen and signed.statement in seen and seen[-1] != signed.statement:
        raise IntegrityError("the signature was replaced by a newer one: this is a replay")
    newest = max((one["at"] for one in earlier if one.get("at") is not None), default=None)
    if newest is not None and signed.at is not None and signed.at < newest:
        raise IntegrityError("was signed before what is registered already: this is a replay")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            "there is no such file", where=str(path), remedy="see [trust] in sluice.toml"
        )
    return path
