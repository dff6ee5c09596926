"""Turns a program's description into that program, as the supervisor's own child.

The supervisor's configuration language has quoting rules of its own for commands, paths and
variables. So the supervisor only ever runs `launch.py NAME`, and the command and its complete
environment come from a JSON file. Standard library only: it runs before every start.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path

START_MARK = "--- sluice: start"
"""Written to the log before each start, so that a reader knows which lines are the last start's."""


def main(name: str) -> None:
    """Note the start of program `name`, then become it. Ends with code 127 when that fails."""
    programs = Path(os.environ["SLUICE_RUN"]) / "programs"
    description = json.loads((programs / f"{name}.json").read_text())
    with (programs / f"{name}.starts").open("a") as starts:
        starts.write(f"{time.time():.3f}\n")
    os.write(1, f"{START_MARK} {name}\n".encode())
    command, environment = description["command"], description["environment"]
    if secret := description["secret"]:
        # Beside this file, which no import finds: only the standard library is on the path.
        hidden = runpy.run_path(str(Path(__file__).with_name("hidden_argument.py")))
        hidden["hide_in_successor"](secret.encode())
    try:
        os.chdir(description["folder"])
        os.execve(command[0], command, environment)  # noqa: S606 - a list made by us
    except OSError as error:
        os.write(1, f"cannot run {command[0]}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1])
