"""How fast a manifest is made, beside what OpenSSL says the processors can do and model-signing.

`python -m benchmarks.hashing [--gigabytes 4]` hashes eight files, and one as large as one of
them times four, in rounds that take turns, so that whoever shares the machine disturbs all alike.
The last line is one JSON object, in 1e9 bytes a second; a ratio is the median over the rounds of
ours by the limit of the same round. `cpu` counts the processors' seconds instead of the clock's:
it is what to look at on a machine with other work. The files are removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from registry.hashing import hash_plain
from registry.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = 8
_PIECE = 64 << 20
_SPEED = ("-seconds", "1", "-evp", "sha256", "-bytes", "1048576")


def main() -> None:
    """Make the files, measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-hashing-") as scratch:
        print(json.dumps(_measure(Path(scratch), int(asked.gigabytes * 1e9), asked.rounds)))


def _measure(scratch: Path, size: int, rounds: int) -> dict[str, float]:
    many, one = scratch / "many", scratch / "one"
    for number in range(FILES):
        _write(many / f"{number}.bin", size // FILES)
    _write(one / "large.bin", size // 2)
    processors = len(os.sched_getaffinity(0))
    cases: dict[str, Callable[[], float]] = {
        "limit": lambda: _openssl("-elapsed", "-multi", str(processors)),
        "ours": lambda: _timed(lambda: Manifest.of_folder(many), size),
        "model_signing": lambda: _timed(lambda: _model_signing(many), size),
        "single_limit": lambda: _openssl("-elapsed"),
        "single_ours": lambda: _timed(lambda: hash_plain(one / "large.bin"), size // 2),
        "single_model_signing": lambda: _timed(lambda: _model_signing(one), size // 2),
        "cpu_limit": _openssl,
        "cpu_ours": lambda: _timed(lambda: Manifest.of_folder(many), size, time.process_time),
        "cpu_model_signing": lambda: _timed(lambda: _model_signing(many), size, time.process_time),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            value = case()
            if number:  # the first brings the files into memory
                found[name].append(value)
        if number:
            print({name: round(values[-1], 3) for name, values in found.items()}, flush=True)
    result = {f"{name}_gbps": round(statistics.median(found[name]), 3) for name in cases}
    pairs = (("", "ours", "limit"), ("single_", "single_ours", "single_limit"))
    for prefix, ours, limit in (*pairs, ("cpu_", "cpu_ours", "cpu_limit")):
        ratios = [a / b for a, b in zip(found[ours], found[limit], strict=True)]
        result[f"{prefix}ratio"] = round(statistics.median(ratios), 3)
        result[f"{prefix}ratio_best"] = round(max(found[ours]) / max(found[limit]), 3)
    return result


def _write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    piece = os.urandom(_PIECE)
    with path.open("wb") as file:
        while size > 0:
            size -= file.write(piece[:size])
        os.fsync(file.fileno())


def _openssl(*more: str) -> float:
    command = ["openssl", "speed", *more, *_SPEED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout.split()[-1].removesuffix("k")) * 1000 / 1e9


def _model_signing(folder: Path) -> object:
    from model_signing import hashing

    return hashing.hash(folder)


def _timed(
    act: Callable[[], object], size: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    started = clock()
    act()
    return size / (clock() - started) / 1e9


if __name__ == "__main__":
    main()
