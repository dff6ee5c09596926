"""Says who signed a folder that came from outside, by a key, or by whom the workspace trusts.

It reads the folder, its signature and the keys, and changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.verify import Walk
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.manifest import Manifest
    from registry.oms import Trusted


def verify_path(
    platform: Platform | None,
    folder: Path,
    *,
    signature: Path | None = None,
    key: Path | None = None,
) -> Walk:
    """A folder with its signature: by `key`, or by whom the workspace trusts.

    Raises UserError when there is no signature, no key and no workspace, or nothing to read.
    """
    from registry.source_trust import signature_of, verify_folder

    if not folder.is_dir():
        raise UserError("is not a folder", where=str(folder))
    bundle = signature or signature_of(folder)
    if not bundle.is_file():
        raise UserError(
            "there is no signature", where=str(bundle), remedy=f"`sluice sign {folder}` makes one"
        )
    walk = Walk(str(folder))
    trusted: list[Trusted] = []

    def check_keys() -> str:
        trusted.append(_trusted(platform, key))
        return "the one given" if key else "those that [trust] names, and the workspace's own"

    def check_folder() -> str:
        signed, manifest = verify_folder(folder, bundle, trusted[0], at=time.time())
        name = f" for {signed.model}" if signed.model else ""
        return f"signed by {signed.signer}{name}: {_files(manifest)}"

    if walk.look("keys", folder.name, check_keys, refuses=UserError):
        walk.look("folder", folder.name, check_folder)
    return walk


def _trusted(platform: Platform | None, key: Path | None) -> Trusted:
    from registry.oms import Trusted
    from registry.root import State
    from registry.signature import ROOT_FILE, load_chain
    from registry.source_trust import load_public, trusted_by

    if key is not None:
        return Trusted((load_public(key),))
    if platform is None:
        raise UserError("nobody is trusted here", remedy="name a public key with --key")
    trusted = trusted_by(platform.workspace)
    folder = platform.workspace.keys
    if not (folder / ROOT_FILE).exists():
        return trusted
    own = load_chain(folder).newest.keys.values()
    public = tuple(one.public for one in own if one.state is State.TRUSTED)
    return replace(trusted, signers=(*trusted.signers, *public))


def _files(manifest: Manifest) -> str:
    count = len(manifest.files)
    return f"{count} file{'s' if count > 1 else ''}, {manifest.size / 1e6:.2f} MB"
