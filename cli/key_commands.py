"""`sluice keys`: which keys sign and count, and the ways to bring one in and to take one out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import open_platform

if TYPE_CHECKING:
    from registry.root import Root

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Its id, or the beginning of it.")]
keys_app = typer.Typer(no_args_is_help=True, help="The keys that sign releases and attestations.")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    keys_app.command("list")(list_keys)
    for command in (new, export, rotate, retire, revoke, resign):
        keys_app.command()(command)
    app.add_typer(keys_app, name="keys")


def list_keys(output: OutputOption = Output.TABLE) -> None:
    """List every key the workspace ever had, and what its signature is worth.

    Example: sluice keys list
    """
    root = open_platform().signing_key.chain.newest
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "kind": key.public.kind,
            "state": key.state.value,
            "signs": name == root.signing,
            "sealed": len(key.sealed),
        }
        for name, key in root.keys.items()
    ]
    rows.sort(key=lambda row: (not row["signs"], row["state"] != "trusted", row["id"]))
    value = {"version": root.version, "expires": _day(root.expires), "keys": rows}

    def show() -> None:
        print_table(
            ["key", "kind", "state", "signs", "sealed"],
            [[row["id"][:12], *list(row.values())[1:]] for row in rows],
        )
        typer.echo(f"version {root.version}; signs until {value['expires']}")

    emit(output, value, show)


def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="FILE, and FILE.pub.pem.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a key pair for signing models; SLUICE_KEY_PASSPHRASE encrypts it.

    Example: sluice keys new alice.pem
    """
    from registry.errors import UserError
    from registry.files import create_once, write_atomic
    from registry.keys import PrivateKey, passphrase_of_environment

    private, public = PrivateKey.generate(), path.with_name(f"{path.name}.pub.pem")
    if not create_once(path, private.to_pem(passphrase_of_environment()), mode=0o600):
        raise UserError("is there already", where=str(path), remedy="name another file")
    write_atomic(public, private.public.to_pem())
    value = {"private": str(path), "public": str(public), "id": private.public.id}
    emit(output, value, lambda: print_pairs(value.items()))


def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where; made if missing.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy the public keys and the chain of versions, for who verifies elsewhere.

    Example: sluice keys export trust
    """
    from registry.files import write_atomic
    from registry.signature import PUBLIC_FILE, ROOT_FILE

    key = open_platform().signing_key.verifying_key
    chain = key.chain
    if chain is None:  # a signing key always has one
        raise AssertionError
    write_atomic(folder / ROOT_FILE, chain.to_json())
    write_atomic(folder / PUBLIC_FILE, key.to_pem())
    value = {"written": [str(folder / name) for name in (ROOT_FILE, PUBLIC_FILE)], "id": key.id}
    emit(output, value, lambda: print_pairs(value.items()))


def rotate(
    reason: ReasonOption = "",
    days: Annotated[int, typer.Option("--days", min=1, help="How long it may sign.")] = 400,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign by a new key from now on; the old one stays trusted until it is retired.

    Example: sluice keys rotate --reason "once a year"
    """
    from pipelines.trust_changes import rotate_key

    _show(output, rotate_key(open_platform(), reason=reason, days=days), {})


def retire(
    key: KeyArgument, reason: ReasonOption = "", output: OutputOption = Output.TABLE
) -> None:
    """End the trust in an old key, except for what it signed that the journal knows.

    Example: sluice keys retire 3f9a0c12
    """
    from pipelines.trust_changes import retire_key

    root, named = retire_key(open_platform(), key, reason=reason)
    _show(output, root, {"stays valid": named})


def revoke(
    key: KeyArgument, reason: ReasonOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Let nothing count that a key signed, and say what that was. A new key signs, if it did.

    Example: sluice keys revoke 3f9a0c12 --reason "laptop lost"
    """
    from pipelines.trust_changes import revoke_key

    root, named = revoke_key(open_platform(), key, reason=reason)
    _show(output, root, {"to be signed again": named})


def resign(reason: ReasonOption = "", output: OutputOption = Output.TABLE) -> None:
    """Sign again what an old key signed that counts no more, if the journal knows it so.

    Example: sluice keys resign
    """
    from pipelines.trust_changes import renew_signatures

    again = renew_signatures(open_platform(), reason=reason)
    emit(output, {"signed again": again}, lambda: _list("signed again", again))


def _show(output: Output, root: Root, things: dict[str, list[str]]) -> None:
    value: dict[str, Any] = {"version": root.version, "signing": root.signing, **things}

    def show() -> None:
        print_pairs([("version", root.version), ("signs", root.signing[:12])])
        for title, names in things.items():
            _list(title, names)

    emit(output, value, show)


def _list(title: str, names: list[str]) -> None:
    typer.echo(f"{title}: {len(names)}")
    for name in names:
        typer.echo(f"  {name}")


def _day(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
