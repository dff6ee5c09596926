"""How a route is written into a cluster, whatever its objects are: fenced, confirmed, put back.

Objects are compared and swapped by `resourceVersion`, one after the other. They are not one
transaction: until the last one is in use the reader says that they are not of one piece, and
writing again makes them whole. That an object is stored says little of what proxies do, so a write
returns only when the controller's status and, where there are some, probes say the same.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from canary.ports import Router
from infra.kubernetes.route_leaks import refuse_leaks
from infra.kubernetes.route_objects import (
    object_name,
    refuse_second_answers,
    restored,
    token_of,
    where,
    written_route,
)
from infra.kubernetes.route_probe import disagreement
from infra.kubernetes.route_readiness import refuse_unready
from infra.kubernetes.route_status import Acceptance, Told
from registry.database_errors import RacedError
from registry.errors import (
    EngineError,
    FencedError,
    PermanentEngineError,
    RetryableEngineError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Route
    from infra.kubernetes.cluster import Cluster
    from infra.kubernetes.kinds import Kind
    from infra.kubernetes.route_objects import Door, Json
    from infra.kubernetes.route_probe import Probes

    Found = list[Mapping[str, Any] | None]

CONFIRM_S = 30.0
"""The longest that a route may take from the API server to the last proxy."""
_POLL_S = 0.25
_RACES = 5
PROBE_ROUNDS = 3
"""Rounds of probes in a row that must all be right: proxies get a route one after the other."""


class ClusterRouter(Router):
    """Routes of one namespace. Engines differ in the objects and in who says that they are used."""

    kinds: tuple[Kind, ...]
    """Of the objects that carry a route and its token, in the order in which they are written."""

    def __init__(
        self,
        cluster: Cluster,
        door: Door,
        *,
        probes: Probes,
        confirm_s: float = CONFIRM_S,
        poll_s: float = _POLL_S,
    ) -> None:
        self._cluster = cluster
        self._door = door
        self._probes = probes
        self._confirm_s = confirm_s
        self._poll_s = poll_s

    def write(self, route: Route) -> None:
        """Make `route` the model's only route; returns once status and probes say it is used.

        Raises FencedError when a larger token wrote before, PermanentEngineError when the engine
        cannot express the route, another route takes its requests, a release has no Service, or
        the controller refuses it (the former one is put back), and RetryableEngineError when a
        release that is to begin has no ready replica or the route was not seen in use in time.
        """
        refuse_second_answers(route)
        wanted = self._objects(route)
        before = self._swap(route, wanted)
        try:
            self._await_acceptance(route, wanted)
        except PermanentEngineError:
            with suppress(EngineError):
                self._put_back(route, before)
            raise
        self._await_probes(route)
        self._tidy(route)

    def read(self, model: str) -> Route | None:
        """The route that the gateway's objects carry out; None when the model has none.

        Raises RetryableEngineError while they are not of one piece, are not in use yet, or when
        somebody else changed them.
        """
        found = self._found(model)
        there = [one for one in found if one is not None]
        if not there:
            return None
        if len(there) < len(found):
            raise RetryableEngineError(
                "only one of its objects is written, so it is not yet the route",
                where=where(there[0]),
                remedy="the next write makes it whole",
            )
        routes = []
        for one in there:
            told = self._acceptance(one)
            if told.acceptance in {Acceptance.PENDING, Acceptance.REFUSED}:
                raise RetryableEngineError(
                    f"it is written and not in use: {told.detail}", where=where(one)
                )
            routes.append(self._route_of(one))
        if any(one != routes[0] for one in routes):
            raise RetryableEngineError(
                "its objects do not say the same, so it is not yet the route",
                where=f"{where(there[0])}, {where(there[1])}",
                remedy="the next write makes it whole",
            )
        return routes[0]

    @abstractmethod
    def _objects(self, route: Route) -> tuple[Json, ...]:
        """The manifests that carry the route, one for each of `kinds`."""

    @abstractmethod
    def _acceptance(self, found: Mapping[str, Any]) -> Told:
        """What the engine's controller says of a stored object."""

    @abstractmethod
    def _route_of(self, found: Mapping[str, Any]) -> Route:
        """The route that a stored object carries out. Raises RetryableEngineError for none."""

    @abstractmethod
    def _leaks(self, route: Route) -> Iterator[str]:
        """Others' objects that take requests of this route."""

    def _prepare(self, route: Route) -> None:
        """Make what must be there before the route names it."""

    def _tidy(self, route: Route) -> None:
        """Take away what no route names any more."""

    def _found(self, model: str) -> Found:
        return [self._cluster.get(kind, object_name(model)) for kind in self.kinds]

    def _swap(self, route: Route, wanted: tuple[Json, ...]) -> Found:
        """Write the objects unless a larger token did; what stood there before."""
        for _ in range(_RACES):
            found = self._found(route.model)
            newest = max((token_of(one) for one in found if one is not None), default=0)
            if newest > route.token:
                raise _fenced(route, newest)
            self._refuse_unfit(route, found)
            self._prepare(route)
            with suppress(RacedError):
                for one, manifest in zip(found, wanted, strict=True):
                    if one is None:
                        self._cluster.apply(manifest)
                    elif not _is_same(one, manifest):
                        version = str(one["metadata"]["resourceVersion"])
                        self._cluster.apply(manifest, resource_version=version)
                return found
        raise RetryableEngineError(
            f"others changed the route {_RACES} times meanwhile", where=route.model
        )

    def _refuse_unfit(self, route: Route, found: Found) -> None:
        """Refuse to begin with a release that cannot answer, or beside a route that takes over.

        Releases that have traffic already are not asked for: going back to one must not wait.
        """
        had: set[int] = set()
        for one in found:
            with suppress(RetryableEngineError):
                if one is not None:
                    shares = written_route(one).shares
                    had |= {share.release for share in shares if share.weight}
        gains = [one.release for one in route.shares if one.weight and one.release not in had]
        if not gains:
            return
        refuse_leaks(self._leaks(route), route)
        for release in gains:
            refuse_unready(self._cluster, self._door, route.model, release)

    def _await_acceptance(self, route: Route, wanted: tuple[Json, ...]) -> None:
        deadline = time.monotonic() + self._confirm_s
        while True:
            waiting = ""
            for one, manifest in zip(self._found(route.model), wanted, strict=True):
                if one is None or not _is_same(one, manifest):
                    raise _overwritten(route, one)
                told = self._acceptance(one)
                if told.acceptance is Acceptance.REFUSED:
                    raise PermanentEngineError(
                        f"the gateway refuses it: {told.detail}", where=where(one)
                    )
                if told.acceptance is Acceptance.PENDING:
                    waiting = f"{where(one)}: {told.detail}"
            if not waiting:
                return
            self._wait(deadline, f"not in use after {self._confirm_s:g} s: {waiting}")

    def _await_probes(self, route: Route) -> None:
        deadline, rounds = time.monotonic() + self._confirm_s, 0
        while self._probes and rounds < PROBE_ROUNDS:
            seen = disagreement(self._probes, route)
            rounds = 0 if seen else rounds + 1
            if seen:
                self._wait(deadline, f"written {self._confirm_s:g} s ago, and still {seen}")

    def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() >= deadline:
            raise RetryableEngineError(
                what,
                where=f"Gateway {self._door.of_gateway}/{self._door.gateway}",
                remedy="look at the gateway's controller and its proxies",
            )
        time.sleep(self._poll_s)

    def _put_back(self, route: Route, before: Found) -> None:
        """The specs that stood there before the controller refused ours, under our token."""
        for kind, one in zip(self.kinds, before, strict=True):
            if one is None:
                self._cluster.delete(kind, object_name(route.model))
                continue
            self._cluster.apply(restored(one, kind, route.token))


def _is_same(found: Mapping[str, Any], manifest: Json) -> bool:
    annotations = found["metadata"].get("annotations") or {}
    told: Mapping[str, str] = manifest["metadata"]["annotations"]
    return found.get("spec") == manifest["spec"] and told.items() <= annotations.items()


def _overwritten(route: Route, found: Mapping[str, Any] | None) -> EngineError | FencedError:
    if found is not None and token_of(found) > route.token:
        return _fenced(route, token_of(found))
    return RetryableEngineError(
        "somebody else wrote the route meanwhile", where=route.model, remedy="write again"
    )


def _fenced(route: Route, newest: int) -> FencedError:
    return FencedError(
        f"a controller with token {newest} wrote the route of {route.model} after this one got "
        f"token {route.token}"
    )
