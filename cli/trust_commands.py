"""Commands about signatures: sign and verify; those about keys are apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import key_commands
from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import open_platform

if TYPE_CHECKING:
    from pipelines.assembly import Platform
    from pipelines.verify import Walk
    from registry.keys import PrivateKey

BROKEN_EXIT = 1


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (sign, verify):
        app.command()(command)
    key_commands.add_to(app)


def sign(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The model's files.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key, PEM; default: the workspace's.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The model that it is meant for.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a folder as OpenSSF model-signing does; FOLDER.sig is written beside it.

    Example: sluice sign path/to/whisper --key alice.pem --model whisper-grid
    """
    from registry.files import write_atomic
    from registry.keys import PrivateKey
    from registry.manifest import Manifest
    from registry.names import check_name
    from registry.oms_library import sign_manifest
    from registry.source_trust import refuse_unsigned_parts, signature_of

    if model:
        check_name(model)
    private = PrivateKey.load(key) if key else _own_key()
    folder = folder.absolute()
    manifest = Manifest.of_folder(folder)
    refuse_unsigned_parts(folder)
    bundle = sign_manifest(manifest, private, name=folder.name, model=model, at=time.time())
    target = signature_of(folder)
    write_atomic(target, bundle)
    value = {
        "signature": str(target),
        "key": private.public.id,
        "digest": manifest.digest,
        "files": len(manifest.files),
    }
    emit(output, value, lambda: print_pairs(value.items()))


def _own_key() -> PrivateKey:
    """The workspace's, for who may use it for what no flow made."""
    from registry.access import Action

    platform = open_platform()
    platform.require(Action.KEYS)
    return platform.signing_key.private


def verify(
    target: Annotated[
        str, typer.Argument(metavar="NAME|PATH|all", help="A model, a signed folder, or all.")
    ],
    release: Annotated[int, typer.Option("--release", min=0, help="Of a model, only this.")] = 0,
    every: Annotated[bool, typer.Option("--every", help="Every release ever published.")] = False,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="Of a folder; default: FOLDER.sig.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Public key, PEM, in place of [trust].")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Walk the chain behind what serves: hash every byte, check every signature.

    In every region too, whose copies are its own.

    Exit 0 when it is whole, 1 when it is broken, 2 for wrong use.

    Example: sluice verify whisper-grid
    """
    walk = _walk(target, release, every, signature, key)
    value = walk.to_dict()

    def show() -> None:
        print_table(
            ["link", "of", "state", "detail"],
            [[one.link, one.of, one.state, one.detail] for one in walk.links],
        )
        broken = walk.first_break
        told = f"breaks first at {broken.link} of {broken.of}" if broken else "the chain is whole"
        typer.echo(told)

    emit(output, value, show)
    raise typer.Exit(0 if value["whole"] else BROKEN_EXIT)


def _walk(target: str, release: int, every: bool, signature: Path | None, key: Path | None) -> Walk:
    """What `target` names: all models, one, a release's folder, or a folder with a signature."""
    from pipelines.verify import released_at, verify_models
    from pipelines.verify_folder import verify_path
    from registry.errors import UserError

    try:
        platform: Platform | None = open_platform()
    except UserError:
        if not Path(target).is_dir():
            raise
        platform = None
    if platform is not None:
        known = platform.journal.models()
        if target == "all":
            if not known:
                raise UserError(
                    "there is nothing to verify yet", where=str(platform.workspace.root)
                )
            return verify_models(platform, known, every=every)
        if target in {*known, *platform.workspace.model_names()}:
            return verify_models(platform, [target], release=release, every=every)
        if found := released_at(platform, Path(target)):
            return verify_models(platform, [found[0]], release=found[1])
    if not Path(target).is_dir():
        raise UserError(
            "is neither a model of this workspace nor a folder", where=target, remedy="or say `all`"
        )
    return verify_path(platform, Path(target), signature=signature, key=key)
