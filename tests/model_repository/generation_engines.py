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

    END, VOCABULARY = 0, 13

    def __init__(self, seed: int = 0, end_bias: float = 0.0, *, joins: bool = True) -> None:
        self.joins = joins
        random = np.random.default_rng(seed)
        self.table = random.standard_normal((41, 43, self.VOCABULARY)).astype(np.float32)
        self.table[..., self.END] += end_bias
        self.calls: list[tuple[str, int]] = []
        self.selected: list[int] = []
        self.fault: dict[int, Exception | float] = {}
        """What happens to a row whose prompt begins with a token: an exception, or logits."""

    def start(
        self, prompts: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.float32], list[tuple[int, ...]]]:
        self.calls.append(("start", len(prompts)))
        state = [(*prompt, -1) for prompt in prompts]
        return self._logits(state), state

    def step(
        self, tokens: NDArray[np.int64], state: list[tuple[int, ...]]
    ) -> tuple[NDArray[np.float32], list[tuple[int, ...]]]:
        assert tokens.dtype == np.int64
        self.calls.append(("step", len(state)))
        state = [(*row, int(token)) for row, token in zip(state, tokens, strict=True)]
        return self._logits(state), state

    def select(
        self, state: list[tuple[int, ...]], rows: NDArray[np.int64]
    ) -> list[tuple[int, ...]]:
        self.selected.append(len(rows))
        return [state[row] for row in rows]

    def join(self, states: Sequence[list[tuple[int, ...]]]) -> list[tuple[int, ...]]:
        assert self.joins
        assert all(states)
        return [row for state in states for row in state]

    def _logits(self, state: list[tuple[int, ...]]) -> NDArray[np.float32]:
        logits = [self._row(row) for row in state]
        return np.array(logits, dtype=np.float32)

    def _row(self, row: tuple[int, ...]) -> NDArray[np.float32]:
        fault = self.fault.get(row[0])
        # Faults come with the second token, so that a group is under way by then.
        if fault is not None and len(row) - row.index(-1) > 1:
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
        self.joins = pickle.load(self._words)  # noqa: S301 - our own pipe

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], int]:
        return self._computed("start", [list(prompt) for prompt in prompts], [])

    def step(self, tokens: NDArray[np.int64], state: int) -> tuple[NDArray[np.float32], int]:
        return self._computed("step", tokens.tolist(), [state])

    def select(self, state: int, rows: NDArray[np.int64]) -> int:
        return int(self._call("select", rows.tolist(), [state])[1])

    def join(self, states: Sequence[int]) -> int:
        return int(self._call("join", [], list(states))[1])

    def close(self) -> None:
        self._calls.close()
        self._process.wait(10)
        self._words.close()

    def _computed(
        self, name: str, given: list[Any], states: list[int]
    ) -> tuple[NDArray[np.float32], int]:
        (shape, data), state = self._call(name, given, states)
        return np.frombuffer(data, np.float32).reshape(shape), state

    def _call(self, name: str, given: list[Any], states: list[int]) -> Any:
        pickle.dump((name, given, states), self._calls)
        self._calls.flush()
        error, logits, state = pickle.load(self._words)  # noqa: S301 - our own pipe
        if error:
            raise RuntimeError(error)
        return logits, state
