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
    pickle.dump(engine.joins, words)
    words.flush()
    while True:
        try:
            name, arguments, used = pickle.load(calls)  # noqa: S301 - the test's own pipe
        except EOFError:
            return
        given = [states.pop(one) for one in used]
        try:
            result = call(engine, name, arguments, given)
        except Exception as error:  # noqa: BLE001 - told to the test
            pickle.dump((f"{type(error).__name__}: {error}", None, None), words)
        else:
            logits, state = result if isinstance(result, tuple) else (None, result)
            number = max(states, default=0) + 1
            states[number] = state
            sent = None if logits is None else (logits.shape, logits.astype(np.float32).tobytes())
            pickle.dump(("", sent, number), words)
        words.flush()


def call(engine: Any, name: str, arguments: list[Any], states: list[Any]) -> Any:
    if name == "start":
        return engine.start(arguments)
    if name == "join":
        return engine.join(states)
    return (
        engine.step(np.array(arguments, np.int64), states[0])
        if name == "step"
        else engine.select(states[0], np.array(arguments, np.int64))
    )


if __name__ == "__main__":
    main()
