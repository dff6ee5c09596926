"""`sluice`: every command parses, calls one flow or one query, and prints.

Exit codes: 0 done or passed, 1 refused by a gate or rolled back, 2 wrong use or a broken engine,
3 inconclusive or paused, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli import (
    access_commands,
    audit_commands,
    bill_command,
    caller_commands,
    cost_command,
    data_commands,
    drift_commands,
    experiment_commands,
    intake_commands,
    log_commands,
    metrics_command,
    model_commands,
    schema_commands,
    scrub_commands,
    traffic_commands,
    trust_commands,
    workspace_commands,
)
from cli.session import find_workspace
from infra.observability.watching import failure_line, observed
from registry.errors import SluiceError
from registry.quiet import silence

if TYPE_CHECKING:
    from registry.workspace import Workspace

app = typer.Typer(
    name="sluice",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Take a model from a folder of files to live traffic on Triton, and back.",
    epilog="Start with: sluice init, sluice doctor, sluice up. Exit codes: 0 passed, 1 refused, "
    "2 wrong use or broken engine, 3 inconclusive.",
)


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        str,
        typer.Option(
            "--workspace", "-w", help="Folder with sluice.toml.", envvar="SLUICE_WORKSPACE"
        ),
    ] = "",
) -> None:
    """Options of every command."""
    if workspace:
        os.environ["SLUICE_WORKSPACE"] = workspace
    context.with_resource(observed(context.invoked_subcommand or "", _workspace()))


def _workspace() -> Workspace | None:
    """The workspace, for commands that need one and those that do not."""
    try:
        return find_workspace()
    except SluiceError:
        return None


workspace_commands.add_to(app)
model_commands.add_to(app)
data_commands.add_to(app)
traffic_commands.add_to(app)
drift_commands.add_to(app)
log_commands.add_to(app)
scrub_commands.add_to(app)
caller_commands.add_to(app)
bill_command.add_to(app)
metrics_command.add_to(app)
cost_command.add_to(app)
experiment_commands.add_to(app)
trust_commands.add_to(app)
access_commands.add_to(app)
intake_commands.add_to(app)
audit_commands.add_to(app)
schema_commands.add_to(app)


def main() -> None:
    """Run the command line; one line for every expected failure."""
    silence()
    # What is left at the end goes with the process: collecting it would take half a second.
    atexit.register(gc.freeze)
    try:
        app()
    except SluiceError as error:
        sys.stderr.write(f"{failure_line(error)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a person gets one line, the traceback goes to a file
        sys.stderr.write(f"error: {_keep_traceback(error)}\n")
        sys.exit(2)


def _keep_traceback(error: Exception) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="sluice-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(traceback.format_exception(error))
    return f"this is a bug in sluice: {type(error).__name__}; please report {file.name}"


if __name__ == "__main__":
    main()
