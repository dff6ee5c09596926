"""Second opinions on files from outside: modelscan and fickling, each in a confined child.

They only ever add a refusal: what our own readers refuse stays refused. What an adviser cannot look
at (modelscan reads `.keras` files with TensorFlow alone) is told, and refuses nothing.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.environments.locks import SCANNERS
from registry.confined_run import run_confined
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 600.0
"""For one adviser and one folder; both read whole files that could be pickles."""

_FOUND, _BROKEN, _NOTHING = 1, 2, 3
"""modelscan's exit codes beside 0: issues, errors while it scanned, no file that it knows."""
_NO_PICKLE = "PICKLE_GENOPS"
"""modelscan tries `.data` and `.dat` as pickles, which ONNX's external data are not."""
_CANNOT = "DEPENDENCY"
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Advice:
    """What the advisers say of a folder."""

    refusals: tuple[str, ...]
    """Each with the file, the adviser and what it found."""
    not_looked_at: tuple[str, ...]
    """Files that an adviser knows and could not look at, with the reason."""
    versions: tuple[str, ...]


def advise(folder: Path, *, timeout_s: float = TIMEOUT_S) -> Advice:
    """Ask both about every file below `folder`. Nothing of them is run, and nothing is written.

    Raises PermanentEngineError when their environment is not installed or an adviser fails,
    RetryableEngineError when one takes longer than `timeout_s`.
    """
    if not SCANNERS.is_complete():
        raise PermanentEngineError(
            f"the {SCANNERS.name} environment is not installed", remedy="run `make setup`"
        )
    with tempfile.TemporaryDirectory(prefix="sluice-advice-") as scratch:
        scanned = _modelscan(folder, Path(scratch), timeout_s)
        pickled = _fickling(folder, Path(scratch), timeout_s)
    refusals, unseen = _of_modelscan(scanned)
    refusals += [
        f"{one['file']}: fickling: {one['severity']}: {one['why']}" for one in pickled["unsafe"]
    ]
    versions = (
        f"modelscan {scanned['summary']['modelscan_version']}",
        f"fickling {pickled['version']}",
    )
    return Advice(tuple(refusals), tuple(unseen), versions)


def _of_modelscan(scanned: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Refusals, and files that were not looked at."""
    refusals = [
        f"{issue['source']}: modelscan: {issue['severity']}: {issue['description']}"
        for issue in scanned["issues"]
    ]
    unseen = []
    for error in scanned["errors"]:
        told = f"{error.get('source', 'a file')}: modelscan: {error['description']}"
        if error["category"] == _CANNOT:
            unseen.append(told)
        elif error["category"] != _NO_PICKLE:
            refusals.append(told)
    refusals += [
        f"{skipped['source']}: modelscan: {skipped['description']}"
        for skipped in scanned["summary"]["skipped"]["skipped_files"]
        if skipped["category"] == "BAD_ZIP"
    ]
    return refusals, unseen


def _modelscan(folder: Path, scratch: Path, timeout_s: float) -> dict[str, Any]:
    report = scratch / "modelscan.json"
    program = [str(SCANNERS.path / "bin" / "modelscan"), "scan", "--path", str(folder.resolve())]
    options = ["--reporting-format", "json", "--output-file", str(report), "--show-skipped"]
    code, words = _run([*program, *options], scratch, timeout_s)
    if code not in {0, _FOUND, _BROKEN, _NOTHING} or not report.is_file():
        raise _failure("modelscan", code, words)
    found: dict[str, Any] = json.loads(report.read_bytes())
    if code == _FOUND and not found["issues"]:
        raise _failure("modelscan", code, words)
    return found


def _fickling(folder: Path, scratch: Path, timeout_s: float) -> dict[str, Any]:
    report = scratch / "fickling.json"
    script = Path(__file__).with_name("advisers_child.py")
    command = [str(SCANNERS.python), "-I", str(script), str(folder.resolve()), str(report)]
    code, words = _run(command, scratch, timeout_s)
    if code != 0 or not report.is_file():
        raise _failure("fickling", code, words)
    found: dict[str, Any] = json.loads(report.read_bytes())
    return found


def _run(command: Sequence[str], scratch: Path, timeout_s: float) -> tuple[int, str]:
    done = run_confined(command, scratch, bound_s=timeout_s, what="an adviser")
    return done.returncode, done.stderr or done.stdout


def _failure(adviser: str, code: int, words: str) -> PermanentEngineError:
    last = next((line for line in reversed(words.splitlines()) if line.strip()), "no words at all")
    return PermanentEngineError(
        f"{adviser} ended with code {code}: {last.strip()[:_LAST_WORDS]}",
        remedy="nothing was registered; `make setup` mends its environment",
    )
