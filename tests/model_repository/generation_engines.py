"""Engines for tests of the generation program: a table of logits, and the real one elsewhere."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.environments.locks import SERVING
from model_repository.programs.generation.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class TableEngine(Engine[list[tuple[int, ...]]]):
    """Logits are drawn from a table by a row's prompt, length and last token; it can be faulty.

    `calls` are the calls that computed something: their name and how many rows they had.
    """

    BEGIN, END, VOCABULARY = -1, 0, 13

    def __init__(self, seed: int = 0, end_bias: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.table = random.standard_normal((41, 43, self.VOCABULARY)).astype(np.float32)
        self.table[..., self.END] += end_bias
        self.calls: list[tuple[str, int]] = []
        self.gathered: list[int] = []
        self.fault: dict[int, Exception | float] = {}
        """What happens to a row whose prompt begins with a token: an exception, or logits."""

    def start(
        self, prompts: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.int64], list[tuple[int, ...]]]:
        self.calls.append(("start", len(prompts)))
        return np.full(len(prompts), self.BEGIN), [tuple(prompt) for prompt in prompts]

    def step(
        self, tokens: NDArray[np.int64], state: list[tuple[int, ...]]
    ) -> tuple[NDArray[np.float32], list[tuple[int, ...]]]:
        assert tokens.dtype == np.int64
        self.calls.append(("step", len(state)))
        state = [(*row, int(token)) for row, token in zip(state, tokens, strict=True)]
        return self._logits(state), state

    def gather(
        self, chosen: Sequence[tuple[list[tuple[int, ...]], NDArray[np.int64]]]
    ) -> list[tuple[int, ...]]:
        assert all(len(rows) for _, rows in chosen)
        gathered = [state[row] for state, rows in chosen for row in rows]
        self.gathered.append(len(gathered))
        return gathered

    def _logits(self, state: list[tuple[int, ...]]) -> NDArray[np.float32]:
        logits = [self._row(row) for row in state]
        return np.array(logits, dtype=np.float32)

    def _row(self, row: tuple[int, ...]) -> NDArray[np.float32]:
        fault = self.fault.get(row[0])
        # Faults come with the second token, so that a row has joined others by then.
        if fault is not None and len(row) - row.index(self.BEGIN) > 1:
            if isinstance(fault, Exception):
                raise fault
            return np.full(self.VOCABULARY, fault, np.float32)
        place = sum((index + 1) * token for index, token in enumerate(row)) % 41
        return np.asarray(self.table[place, len(row) % 43])


class RemoteEngine(Engine[int]):
    """The program's own engine of a variant, in the environment that it serves in."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [str(SERVING.python), str(HERE / "generation_child.py"), str(folder)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._calls, self._words = self._process.stdin, self._process.stdout

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], int]:
        return self._computed("start", [list(prompt) for prompt in prompts], [])

    def step(self, tokens: NDArray[np.int64], state: int) -> tuple[NDArray[np.float32], int]:
        return self._computed("step", tokens.tolist(), [state])

    def gather(self, chosen: Sequence[tuple[int, NDArray[np.int64]]]) -> int:
        rows = [numbers.tolist() for _, numbers in chosen]
        return int(self._call("gather", rows, [state for state, _ in chosen])[1])

    def close(self) -> None:
        self._calls.close()
        self._process.wait(10)
        self._words.close()

    def _computed(self, name: str, given: list[Any], states: list[int]) -> tuple[NDArray[Any], int]:
        (dtype, shape, data), state = self._call(name, given, states)
        return np.frombuffer(data, dtype).reshape(shape), state

    def _call(self, name: str, given: list[Any], states: list[int]) -> Any:
        pickle.dump((name, given, states), self._calls)
        self._calls.flush()
        error, logits, state = pickle.load(self._words)  # noqa: S301 - our own pipe
        if error:
            raise RuntimeError(error)
        return logits, state
