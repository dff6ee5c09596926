"""What every world must do, in memory or with real engines, for a rollout to be safe on it.

Subclass `PortConformance` in a test module and give it a fixture `world` that has the attributes
of `ConformanceWorld`. The tests of one class share nothing: each may start and stop revisions of
`world.model`, and finds none running and no route when it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from canary.ports import ArmCounters, RevisionState, Route, Share
from registry.errors import EngineError, FencedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.ports import Fleet, RevisionStatus, Router, Telemetry


class ConformanceWorld(Protocol):
    """One model with two good releases and, where the engine can make one, two bad ones."""

    model: str
    first: int
    """A published release that loads and is admitted; smaller than `second`."""
    second: int
    """Another one."""
    broken: int | None
    """A published release whose revision ends FAILED; None skips its test."""
    unfit: int | None
    """A release that gets ready but must not be admitted (bytes, version or golden answers
    differ); None skips its test."""
    unpublished: int
    """A number that no release has."""
    wait_s: float
    """The longest that a revision takes to get ready or to fail."""
    fleet: Fleet
    router: Router
    telemetry: Telemetry

    def send(self, count: int, *, session: str | None = None) -> Mapping[int, int]:
        """Send requests through the router; how many each release answered well.

        Without `session`, each request is a session of its own.
        """

    def send_bad(self, count: int) -> None:
        """Send requests that every release answers with an error."""

    def sleep(self, seconds: float) -> None:
        """Let the world's time pass."""


def wait_for(world: ConformanceWorld, release: int, state: RevisionState) -> RevisionStatus:
    """The status of `release` once it is `state`; the last one seen when time is up."""
    status = world.fleet.status(world.model, release)
    waited = 0.0
    while status.state is not state and waited < world.wait_s:
        world.sleep(0.05)
        waited += 0.05
        status = world.fleet.status(world.model, release)
    assert status.state is state, status
    return status


def serve(world: ConformanceWorld, *releases: int) -> None:
    """Start the releases and wait until they are ready and admitted."""
    for release in releases:
        world.fleet.start(world.model, release)
    for release in releases:
        wait_for(world, release, RevisionState.READY)
        admission = world.fleet.admit(world.model, release)
        assert admission.admitted, admission.checks


def route(world: ConformanceWorld, *shares: tuple[int, int], token: int = 1) -> Route:
    """Write a route of (release, weight) pairs, see that it is in use, and return it."""
    written = Route(world.model, tuple(Share(*share) for share in shares), token)
    world.router.write(written)
    settle_route(world, written)
    return written


def settle_route(world: ConformanceWorld, expected: Route) -> None:
    """Wait until the router says it uses `expected` (a write may take a moment to be seen)."""
    seen = world.router.read(world.model)
    for _ in range(100):
        if seen is not None and seen.shares == expected.shares:
            return
        world.sleep(0.05)
        seen = world.router.read(world.model)
    assert seen is not None
    assert seen.shares == expected.shares


def counted(world: ConformanceWorld, slow_ms: int = 1000) -> Mapping[int, ArmCounters]:
    """The counters, after the time an engine may take to show a finished request."""
    world.sleep(0.3)
    return world.telemetry.read(world.model, slow_ms)


class PortConformance:
    """Tests of the three ports; needs a fixture `world`."""

    # Fleet

    def test_nothing_runs_at_first(self, world: ConformanceWorld) -> None:
        assert world.fleet.running(world.model) == ()
        status = world.fleet.status(world.model, world.first)
        assert status.state is RevisionState.ABSENT

    def test_started_revision_gets_ready_and_is_admitted(self, world: ConformanceWorld) -> None:
        world.fleet.start(world.model, world.first)
        assert world.first in world.fleet.running(world.model)
        wait_for(world, world.first, RevisionState.READY)
        admission = world.fleet.admit(world.model, world.first)
        assert admission.admitted
        assert admission.checks
        assert all(passed for _, passed, _ in admission.checks)

    def test_starting_twice_is_starting_once(self, world: ConformanceWorld) -> None:
        world.fleet.start(world.model, world.first)
        world.fleet.start(world.model, world.first)
        wait_for(world, world.first, RevisionState.READY)
        world.fleet.start(world.model, world.first)
        assert world.fleet.running(world.model) == (world.first,)
        assert world.fleet.status(world.model, world.first).state is RevisionState.READY

    def test_two_releases_run_side_by_side(self, world: ConformanceWorld) -> None:
        serve(world, world.second, world.first)
        assert world.fleet.running(world.model) == (world.first, world.second)

    def test_stopping_leaves_nothing_and_may_be_repeated(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        world.fleet.stop(world.model, world.first)
        assert world.fleet.running(world.model) == ()
        status = world.fleet.status(world.model, world.first)
        assert status.state is RevisionState.ABSENT
        world.fleet.stop(world.model, world.first)
        world.fleet.stop(world.model, world.unpublished)

    def test_stopping_one_release_leaves_the_other(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        world.fleet.stop(world.model, world.second)
        assert world.fleet.running(world.model) == (world.first,)
        assert world.fleet.status(world.model, world.first).state is RevisionState.READY

    def test_a_stopped_release_starts_again(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        world.fleet.stop(world.model, world.first)
        serve(world, world.first)

    def test_a_broken_release_ends_failed_and_says_why(self, world: ConformanceWorld) -> None:
        if world.broken is None:
            pytest.skip("this world has no release that fails to load")
        world.fleet.start(world.model, world.broken)
        assert wait_for(world, world.broken, RevisionState.FAILED).detail
        assert not world.fleet.admit(world.model, world.broken).admitted
        world.fleet.stop(world.model, world.broken)
        assert world.fleet.running(world.model) == ()

    def test_an_unfit_release_is_refused_with_the_failed_check_last(
        self, world: ConformanceWorld
    ) -> None:
        if world.unfit is None:
            pytest.skip("this world has no release that gets ready but differs")
        world.fleet.start(world.model, world.unfit)
        wait_for(world, world.unfit, RevisionState.READY)
        admission = world.fleet.admit(world.model, world.unfit)
        assert not admission.admitted
        name, passed, detail = admission.checks[-1]
        assert name
        assert not passed
        assert detail

    def test_an_absent_release_is_not_admitted(self, world: ConformanceWorld) -> None:
        assert not world.fleet.admit(world.model, world.first).admitted

    def test_an_unpublished_release_never_gets_ready(self, world: ConformanceWorld) -> None:
        try:
            world.fleet.start(world.model, world.unpublished)
        except EngineError:
            assert world.unpublished not in world.fleet.running(world.model)
            return
        wait_for(world, world.unpublished, RevisionState.FAILED)

    # Router

    def test_a_model_without_route_has_none(self, world: ConformanceWorld) -> None:
        assert world.router.read(world.model) is None

    def test_a_written_route_is_read_back_and_used(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        written = route(world, (world.first, 100))
        assert world.router.read(world.model) == written
        assert world.send(20) == {world.first: 20}

    def test_writing_the_same_route_again_does_nothing(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        written = route(world, (world.first, 100))
        world.router.write(written)
        assert world.router.read(world.model) == written
        assert world.send(5) == {world.first: 5}

    def test_both_sides_get_about_their_weight(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 80), (world.second, 20))
        answered = world.send(400)
        assert sum(answered.values()) == 400
        # 80 expected, standard deviation 8: six of them on both sides.
        assert 32 <= answered.get(world.second, 0) <= 128

    def test_a_session_stays_on_its_side(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        for session in range(10):
            assert len(world.send(8, session=f"session-{session}")) == 1

    def test_no_session_goes_back_while_the_candidate_grows(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        moved: set[str] = set()
        for weight in (10, 40, 100):
            route(world, (world.first, 100 - weight), (world.second, weight))
            now = {
                f"session-{session}"
                for session in range(40)
                if world.send(1, session=f"session-{session}").get(world.second)
            }
            assert moved <= now
            moved = now
        assert len(moved) == 40

    def test_rolling_back_takes_every_request_at_once(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        route(world, (world.first, 100))
        assert world.send(50) == {world.first: 50}

    def test_an_older_token_is_refused_and_changes_nothing(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        newest = route(world, (world.first, 100), token=7)
        late = Route(world.model, (Share(world.second, 100),), 6)
        with pytest.raises(FencedError):
            world.router.write(late)
        assert world.router.read(world.model) == newest
        assert world.send(5) == {world.first: 5}

    # Telemetry

    def test_counters_are_totals_by_the_release_that_answered(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 70), (world.second, 30))
        before = counted(world)
        answered = world.send(60)
        after = counted(world)
        for release in (world.first, world.second):
            gained = (
                after.get(release, ArmCounters()).requests
                - before.get(release, ArmCounters()).requests
            )
            assert gained == answered.get(release, 0)
            assert after.get(release, ArmCounters()).errors == 0

    def test_errors_are_counted_as_requests_too(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        route(world, (world.first, 100))
        world.send(3)
        before = counted(world)[world.first]
        world.send_bad(4)
        after = counted(world)[world.first]
        assert after.errors - before.errors == 4
        assert after.requests - before.requests == 4

    def test_counters_stay_within_the_requests(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        route(world, (world.first, 100))
        world.send(10)
        slow = {limit: counted(world, limit)[world.first] for limit in (10, 5000)}
        for counters in slow.values():
            assert 0 <= counters.slow <= counters.requests
        assert slow[5000].slow <= slow[10].slow
