"""Looks at several regions at once, and waits for none of them for long.

A region that does not answer may hold a look for half a minute, until its connection is given up.
The region whose rollout is under way must not be left alone meanwhile: it may have to go back.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from canary.waves_states import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipelines.waves.region import Region

T = TypeVar("T")

PATIENCE_S = 5.0
"""For a first answer; whoever did not answer then is not waited for again until it does."""


class Sight:
    """What regions, by name, were last seen to be. Used by one thread."""

    def __init__(self, regions: Mapping[str, Region], patience_s: float) -> None:
        self._regions = regions
        self._patience_s = patience_s
        self._late: dict[tuple[str, str], Future[Seen]] = {}

    def see(self, model: str, names: Iterable[str]) -> dict[str, Seen]:
        """The regions as they are now; one that the settings lost counts as cut off.

        So does one that does not answer in time. Raises what a look raises but EngineError.
        """
        asked = dict.fromkeys(names)
        known = [name for name in asked if name in self._regions]
        looks = at_once(
            {
                name: partial(self._regions[name].look, model)
                for name in known
                if not self._is_late(model, name)
            },
            self._patience_s,
        )
        late = {name: one for name, one in looks.items() if not one.done()}
        self._late |= {(model, name): one for name, one in late.items()}
        seen = {name: one.result() for name, one in looks.items() if name not in late}
        gone = Seen(cut_off="sluice.toml names it no more")
        away = Seen(cut_off=f"no answer within {self._patience_s:g} s")
        return {name: seen.get(name, away if name in self._regions else gone) for name in asked}

    def _is_late(self, model: str, name: str) -> bool:
        """Whether a look from before is still waiting; what a late one said is out of date."""
        look = self._late.get((model, name))
        if look is not None and look.done():
            del self._late[model, name]
            return False
        return look is not None


def at_once(acts: Mapping[str, Callable[[], T]], patience_s: float) -> dict[str, Future[T]]:
    """What each of `acts` comes to; after `patience_s` some may not be done yet."""
    begun = {name: _begun(act) for name, act in acts.items()}
    wait(begun.values(), timeout=patience_s)
    return begun


def _begun(act: Callable[[], T]) -> Future[T]:
    """What `act` comes to, in a thread that no command waits for at its end."""
    future: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(act))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="sight", daemon=True).start()
    return future
