"""Commands about people: whoami, access, and approve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import ModelArgument, ReasonOption, open_platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.access import AccessPolicy

OPEN = "no access.toml: whoever can write the workspace may do everything"

ReleaseArgument = Annotated[int, typer.Argument(metavar="RELEASE", help="A published release.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (whoami, access, approve):
        app.command()(command)


def whoami(output: OutputOption = Output.TABLE) -> None:
    """Show whom the journal would name, how that is known, and the roles by model.

    Example: sluice whoami --output json
    """
    platform = open_platform()
    who = platform.guard.who(platform.actor)
    names = platform.workspace.model_names()
    roles = {name: list(platform.guard.roles_of(who.actor, name)) for name in names}
    value = {
        "actor": who.actor,
        "known_by": who.known_by,
        "issuer": who.issuer,
        "groups": sorted(who.groups),
        "policy": platform.guard.policy is not None,
        "roles": roles,
    }

    def show() -> None:
        known = f"a token of {who.issuer}" if who.issuer else "its own word (asserted)"
        groups = ", ".join(sorted(who.groups)) or "none"
        print_pairs([("actor", who.actor), ("known by", known), ("groups", groups)])
        if not value["policy"]:
            typer.echo(OPEN)
            return
        print_table(
            ["model", "roles"],
            [[name, ", ".join(held) or "none"] for name, held in roles.items()],
        )

    emit(output, value, show)


def access(
    model: Annotated[str, typer.Argument(metavar="[NAME]", help="One model only.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who may do what, by access.toml, and what a release needs before it gets traffic.

    Example: sluice access whisper-grid
    """
    platform = open_platform()
    if model:
        platform.workspace.require_model(model)
    value = _told(platform.guard.policy, [model] if model else platform.workspace.model_names())

    def show() -> None:
        if not value["policy"]:
            typer.echo(OPEN)
            return
        columns = ["role", "for", "who", "may"]
        print_table(columns, [[row[name] for name in columns] for row in value["grants"]])
        for row in value["models"]:
            typer.echo(_asked(row))

    emit(output, value, show)


def approve(
    model: ModelArgument,
    release: ReleaseArgument,
    *,
    reason: ReasonOption = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take your own approval back.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Approve a release, by the digest of its bytes, so that somebody else may promote it.

    Exit 0: all approvals that access.toml asks for are there. 3: more are needed.

    Example: sluice approve whisper-grid 3 --reason "listened to 50 clips"
    """
    from pipelines import approve as approving

    platform = open_platform()
    act = approving.withdraw if withdraw else approving.approve
    value = act(platform, model, release, reason)

    def show() -> None:
        print_pairs([("release", f"{model} {release}"), ("manifest", value["manifest_digest"])])
        for one in value["approvals"]:
            counts = "counts" if one["counts"] else f"does not count: it {one['why_not']}"
            typer.echo(f"{one['actor']}: {counts}")
        typer.echo(f"{value['missing']} more of {value['needed']} needed")

    emit(output, value, show)
    raise typer.Exit(0 if withdraw or not value["missing"] else 3)


def _told(policy: AccessPolicy | None, models: Any) -> dict[str, Any]:
    from registry.access import permitted_actions

    if policy is None:
        return {"policy": False, "grants": [], "models": []}
    grants = [
        {
            "role": str(grant.role),
            "for": ", ".join(grant.models),
            "who": ", ".join([*grant.actors, *(f"group {name}" for name in grant.groups)]),
            "may": ", ".join(permitted_actions([grant.role])) or "look",
        }
        for grant in policy.grants
        if len(models) != 1 or grant.is_for(models[0])
    ]
    rules = [
        {"model": name, **policy.production_of(name).model_dump(exclude={"models"})}
        for name in models
    ]
    return {"policy": True, "grants": grants, "models": rules}


def _asked(row: Mapping[str, Any]) -> str:
    others = " by others than who registered it" if row["distinct"] else ""
    needs = f"{row['approvals']} approval(s){others}, each for {row['expires_hours']:g} h"
    reason = "; a reason is asked for" if row["require_reason"] else ""
    return f"{row['model']}: {needs if row['approvals'] else 'no approval needed'}{reason}"
