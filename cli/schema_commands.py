"""Commands about the databases that Sluice keeps its state in: journal migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.audit_commands import journal
from cli.output import Output, OutputOption, emit, print_pairs
from cli.session import find_workspace

if TYPE_CHECKING:
    import typer


def add_to(app: typer.Typer) -> None:  # noqa: ARG001 - as every module's; the group is there
    """Add this module's commands."""
    journal.command()(migrate)


def migrate(output: OutputOption = Output.TABLE) -> None:
    """Give the journal's database the schema of this version, in one transaction.

    A server's database needs it once before its first use and after an upgrade of Sluice; other
    commands then say so. The workspace's own file is brought up to date when it is opened. Doing
    it again changes nothing.

    Example: sluice journal migrate
    """
    from registry.migrating import migrate as bring_up_to_date

    before, after = bring_up_to_date(find_workspace().journal_url)
    value = {"before": before, "after": after, "changed": before != after}
    shown = [("before", before or "empty"), ("after", after)]
    emit(output, value, lambda: print_pairs(shown))
