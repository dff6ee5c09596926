"""Runs one conversion as a child of the converter's interpreter, bounded and watched.

The checkpoint is opened only there: an own session, no network and no file to write but its own
(`registry.confinement`; where the kernel cannot, Python refuses connections), limited memory and
time, an empty home, and an end when this process ends. What it writes is staged, and becomes
visible at once and whole, or not at all.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.conversion.kinds import kind_of
from registry.confinement import confined
from registry.errors import (
    EngineError,
    PermanentEngineError,
    RetryableEngineError,
    SluiceError,
    UserError,
)
from registry.files import canonical_json, disk_error, staged_folder
from registry.priority import give_way
from registry.quiet import QUIET_ENVIRONMENT
from registry.spans import Span, replay, traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

    from pipelines.conversion.kind import Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
_JOB = "pipelines.conversion.job"
_TAIL_BYTES = 8192
_MEMORY_SIGNS = ("MemoryError", "bad_alloc", "can't allocate memory", "Cannot allocate memory")
_TYPES = {kind.__name__: kind for kind in (UserError, RetryableEngineError, PermanentEngineError)}


@dataclass(frozen=True)
class Limits:
    """Bounds of one conversion: bytes of private memory, and seconds by the wall clock."""

    memory_bytes: int = 8 * 1024**3
    seconds: float = 900.0


@dataclass(frozen=True)
class Calibration:
    """Real questions for quantisers and parity, and the set that they are from.

    `questions` is a file of numpy.savez, an array each (float32, or a text); `items` are the
    SHA-256 of the content of each, so that no gate ever judges by one of them.
    """

    questions: Path
    sha256: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class ConvertedVariant:
    """One variant on disk and how it came to be.

    `seconds` includes its share of the export; `parity` holds the differences from the source's
    own framework that `pipelines.conversion.job.Conversion.measure` describes.
    """

    recipe: Recipe
    folder: Path
    tool_versions: Mapping[str, str]
    seconds: float
    parity: Mapping[str, float]
    confined: str
    """The walls that stood around the child, as `registry.confinement` names them."""


def convert(  # noqa: PLR0913 - each is named by its caller
    kind: str,
    source: Path,
    recipes: Sequence[Recipe],
    output_root: Path,
    *,
    parent_digest: str,
    python: Path,
    environment_hash: str,
    calibration: Calibration | None = None,
    limits: Limits | None = None,
    feeds: Path | None = None,
) -> tuple[ConvertedVariant, ...]:
    """Make `recipes` of the checkpoint in `source`, each as `output_root/VARIANT`, in one child.

    Real inputs of its graphs are written to the file `feeds`, where `calibration` has any.
    `output_root` must not exist; it appears complete or not at all, and the child's own words
    are kept beside it as `OUTPUT_ROOT.log`. Raises UserError for a bad checkpoint, a recipe that
    needs calibration and gets none, or an output that exists; EngineError when the converter
    fails or passes a limit.
    """
    _check(kind, source, recipes, output_root, python, calibration)
    log = output_root.with_name(f"{output_root.name}.log")
    with staged_folder(output_root.parent, output_root) as staged, _scratch() as scratch:
        request = {
            "kind": kind,
            "source": str(source.resolve()),
            "output": str(staged),
            "scratch": str(scratch),
            "result": str(scratch / "result.json"),
            "recipes": [recipe.to_json() for recipe in recipes],
            "parent": parent_digest,
            "environment": environment_hash,
            # It reaches no network: what it did comes back with the result, and is told here.
            "traceparent": traceparent(),
            **_calibration_json(calibration, feeds),
        }
        command = [str(python), "-m", _JOB, str(scratch / "request.json")]
        writable = [staged, scratch, *([feeds.parent] if feeds else [])]
        outcome = _run(confined(command, writable), request, scratch, log, limits or Limits())
        replay([Span.from_json(values) for values in outcome.get("spans", ())])
    return tuple(
        ConvertedVariant(
            recipe,
            output_root / recipe.variant,
            tool_versions=values["tool_versions"],
            seconds=values["seconds"],
            parity=values["parity"],
            confined=outcome["confined"],
        )
        for recipe, values in zip(recipes, outcome["variants"], strict=True)
    )


def _check(
    kind: str,
    source: Path,
    recipes: Sequence[Recipe],
    output_root: Path,
    python: Path,
    calibration: Calibration | None,
) -> None:
    """Refuse, before anything starts, what could never become variants."""
    chosen = kind_of(kind)
    if not recipes:
        raise UserError("no variants were asked for", remedy="name at least one")
    for recipe in recipes:
        if recipe.is_calibrated and calibration is None:
            raise UserError(
                f"{recipe.variant} needs calibration data",
                remedy="name a set in [convert] calibration of the model's file",
            )
    if output_root.exists():
        raise UserError("exists already", where=str(output_root), remedy="name a new folder")
    if not python.is_file():
        raise PermanentEngineError(
            "the converter's environment is missing", where=str(python), remedy="run `make setup`"
        )
    chosen.inspect(source)


def _calibration_json(calibration: Calibration | None, feeds: Path | None) -> dict[str, Any]:
    """The part of a request that is about real questions."""
    if calibration is None:
        return {"questions": "", "feeds": "", "calibration": None}
    return {
        "questions": str(calibration.questions.resolve()),
        "feeds": str(feeds.resolve()) if feeds else "",
        "calibration": {"sha256": calibration.sha256, "items": list(calibration.items)},
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-conversion-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    command: list[str], request: dict[str, Any], scratch: Path, log: Path, limits: Limits
) -> dict[str, Any]:
    (scratch / "request.json").write_bytes(canonical_json(request))
    try:
        with log.open("wb") as words:
            code = _wait(command, scratch, words, limits)
    except OSError as error:
        raise disk_error(log, error) from error
    result = scratch / "result.json"
    if code != 0 or not result.is_file():
        raise _death(code, log, limits)
    outcome: dict[str, Any] = json.loads(result.read_bytes())
    if "error" in outcome:
        raise _typed(outcome["error"])
    return outcome


def _wait(command: list[str], scratch: Path, words: IO[bytes], limits: Limits) -> int:
    """The child's exit code. However this ends, the child and its children are gone."""
    child = subprocess.Popen(
        command,
        cwd=scratch,
        env=_environment(scratch),
        # Never written to: it closes when this process ends, and so tells the child.
        stdin=subprocess.PIPE,
        stdout=words,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        # Private writable memory: address space would count PyTorch's mapped libraries too.
        resource.prlimit(child.pid, resource.RLIMIT_DATA, (limits.memory_bytes,) * 2)
        resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))
        give_way(child.pid)
        return child.wait(limits.seconds)
    except subprocess.TimeoutExpired as error:
        raise RetryableEngineError(
            f"the conversion was stopped after {limits.seconds:g} s",
            where=words.name,
            remedy="raise the time limit, or look there for what took so long",
        ) from error
    finally:
        _kill_group(child)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # The group outlives its leader when a grandchild is left, so it is killed in any case.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin:
        child.stdin.close()


def _environment(scratch: Path) -> dict[str, str]:
    """What the child may know: no proxy, no token, no home of the user."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {
        **kept,
        **QUIET_ENVIRONMENT,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The same checkpoint gives the same bytes, whatever order sets are walked in.
        "PYTHONHASHSEED": "0",
        "USE_TF": "0",
        # Threads of PyTorch that wait in a loop would take the cores of live traffic.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _death(code: int, log: Path, limits: Limits) -> EngineError:
    tail = _tail(log)
    if any(sign in tail for sign in _MEMORY_SIGNS):
        return PermanentEngineError(
            f"the conversion ran out of its {limits.memory_bytes / 1024**2:.0f} MiB of memory",
            where=str(log),
            remedy="raise the memory limit, or convert on a larger machine",
        )
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "no words at all")
    return PermanentEngineError(
        f"the converter ended with {how}: {last.strip()[:300]}",
        where=str(log),
        remedy="read its last words there",
    )


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _typed(error: dict[str, str]) -> SluiceError:
    kind = _TYPES.get(error["type"], PermanentEngineError)
    return kind(error["what"], where=error["where"], remedy=error["remedy"])
