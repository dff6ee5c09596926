"""An engine of the program, run in the serving environment and called from the tests' one.

`generation_child.py FOLDER` answers pickled calls from its input; states stay here, by number.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from model_repository.programs.generation.engines import load_engine


def main() -> None:
    engine = load_engine(Path(sys.argv[1]), threads=1)
    states: dict[int, Any] = {}
    words, calls = sys.stdout.buffer, sys.stdin.buffer
    while True:
        try:
            name, arguments, used = pickle.load(calls)  # noqa: S301 - the test's own pipe
        except EOFError:
            return
        given = [states.pop(one) for one in used]
        try:
            computed, state = call(engine, name, arguments, given)
        except Exception as error:  # noqa: BLE001 - told to the test
            pickle.dump((f"{type(error).__name__}: {error}", None, None), words)
        else:
            number = max(states, default=0) + 1
            states[number] = state
            # NumPy's own pickles are not understood by every version of it.
            sent = None
            if computed is not None:
                sent = (computed.dtype.str, computed.shape, computed.tobytes())
            pickle.dump(("", sent, number), words)
        words.flush()


def call(engine: Any, name: str, arguments: list[Any], states: list[Any]) -> Any:
    if name == "start":
        return engine.start(arguments)
    if name == "step":
        return engine.step(np.array(arguments, np.int64), states[0])
    rows = (np.array(numbers, np.int64) for numbers in arguments)
    return None, engine.gather(list(zip(states, rows, strict=True)))


if __name__ == "__main__":
    main()
