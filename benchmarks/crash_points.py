"""Kill a controller at every numbered point of a promotion on real engines, and restart it twice.

    python -m benchmarks.crash_points [EVERY] [BEGIN]

Triton, Envoy and the journal are real and requests go through the front door all the while. With
EVERY = 3 every third point is taken, from BEGIN on (1). Each round kills a new process and, every
second time, its successor too. A line a point; the last one counts what was found.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.infra.crash_points import CrashStage, Traffic
from tests.infra.toys import open_door


def main(every: int = 1, begin: int = 1) -> None:
    """Sweep, and print what each point led to."""
    began = time.monotonic()
    ended: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, open_door(Path(folder) / "door") as door:
        stage = CrashStage(door)
        stage.begin()
        with Traffic(door, pause_s=0.02) as traffic:
            passed = stage.count()
            for number, point in enumerate(range(begin, len(passed) + 1, every)):
                # The successor dies as well, early or late.
                others = (1 + point % 23,) if number % 2 else ()
                outcome = stage.killed_at(point, *others)
                ended[outcome] += 1
                print(
                    f"{point:4d} of {len(passed)}  {passed[point - 1]:40}  {outcome}"
                    f"  {len(traffic.failures)} failed requests",
                    flush=True,
                )
        print(
            f"{ended.total()} points: {dict(ended)}; {sum(traffic.answered.values())} requests,"
            f" {len(traffic.failures)} failed; {time.monotonic() - began:.0f} s"
        )
        for failure in traffic.failures[:5]:
            print(failure)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
