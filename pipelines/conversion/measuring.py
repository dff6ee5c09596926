"""Runs one of this room's measuring programs as a child of the converter's interpreter.

Request and result are JSON files; the child has its own memory, no network, few environment
variables, and a bound in seconds after which it is gone.
"""

from __future__ import annotations

import json
import math
import re
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.confined_run import run_confined
from registry.errors import PermanentEngineError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parents[2]


def run_program(
    python: Path, module: str, request: Mapping[str, Any], *, bound_s: float, what: str
) -> Any:
    """The JSON value that `python -m MODULE REQUEST.json` writes for `request`.

    Raises PermanentEngineError when the program fails, RetryableEngineError when it takes longer
    than `bound_s` seconds; both call it `what`.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-measuring-") as scratch:
        asked, result = Path(scratch) / "request.json", Path(scratch) / "result.json"
        asked.write_bytes(canonical_json({**request, "bound_s": bound_s, "result": str(result)}))
        command = [str(python), "-m", module, str(asked)]
        _run(command, Path(scratch), bound_s, what)
        return json.loads(result.read_bytes())


def read_request(path: Path) -> dict[str, Any]:
    """The request, in the child; from here on it ends by itself when its bound is over."""
    request: dict[str, Any] = json.loads(path.read_text())
    # Whatever became of the parent that would have ended it.
    signal.alarm(math.ceil(request["bound_s"]))
    return request


def write_result(request: Mapping[str, Any], value: object) -> None:
    """Write the child's answer where the parent looks for it."""
    Path(request["result"]).write_bytes(canonical_json(value))


def _run(command: list[str], scratch: Path, bound_s: float, what: str) -> None:
    environment = {
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
    }
    done = run_confined(command, scratch, bound_s=bound_s, what=what, environment=environment)
    if done.returncode != 0:
        raise PermanentEngineError(
            f"{what} failed with code {done.returncode}: {_reason(done.stderr)[:300]}"
        )


def _reason(words: str) -> str:
    """The line of a traceback that names the exception; else the last line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or ["no words at all"])[-1]


_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Fail|InvalidArgument|InvalidProtobuf): ")
