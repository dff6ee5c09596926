"""Asks fickling about every file of a folder as if it were a pickle, inside the advisers' Python.

`python advisers_child.py FOLDER REPORT.json`. A file that is no pickle says so with its first
opcodes. Nothing is unpickled: fickling only reads opcodes.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(folder: Path, report: Path) -> None:
    """Write what was found of every file that holds a pickle that is not likely safe."""
    unsafe = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            unsafe += [
                {"file": path.relative_to(folder).as_posix(), **found} for found in _look(path)
            ]
    report.write_text(json.dumps({"version": version("fickling"), "unsafe": unsafe}))


def _look(path: Path) -> list[dict[str, Any]]:
    # These are not installed where the control plane is typed.
    from fickling.analysis import Severity, check_safety  # type: ignore[import-not-found]
    from fickling.fickle import (  # type: ignore[import-not-found]
        EmptyPickleError,
        PickleDecodeError,
        StackedPickle,
    )

    try:
        with path.open("rb") as file:
            pickles = StackedPickle.load(file).pickled
    except (EmptyPickleError, PickleDecodeError):
        return []
    results = [check_safety(one) for one in pickles]
    return [
        {"severity": result.severity.name, "why": " ".join(str(result).split())[:300]}
        for result in results
        if result.severity > Severity.LIKELY_SAFE
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
