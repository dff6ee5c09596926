"""What every world must do, in memory or with real engines, for a rollout to be safe on it.

Subclass `PortConformance` in a test module and give it a fixture `world` that has the attributes
of `ConformanceWorld`. The tests of one class share nothing: each may start and stop revisions of
`world.model`, and finds none running and no route when it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from canary.ports import ArmCounters, Mirror, RevisionState, Route, Share
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

    def send_bad(self, count: int, *, session: str | None = None) -> None:
        """Send requests that every release refuses, so that asking another is of no use."""

    def send_empty(self, count: int, *, session: str | None = None) -> None:
        """Send requests that every release answers with nothing, by its fallback."""

    def fail(self, release: int) -> None:
        """End the revision's engine, without a word to the router."""

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


def route(
    world: ConformanceWorld,
    *shares: tuple[int, int],
    token: int = 1,
    mirror: Mirror | None = None,
    retry_to: int | None = None,
) -> Route:
    """Write a route of (release, weight) pairs, see that it is in use, and return it."""
    written = Route(world.model, tuple(Share(*share) for share in shares), token, mirror, retry_to)
    world.router.write(written)
    settle_route(world, written)
    return written


def settle_route(world: ConformanceWorld, expected: Route) -> None:
    """Wait until the router says it uses `expected` (a write may take a moment to be seen)."""
    seen = world.router.read(world.model)
    for _ in range(100):
        if seen == expected:
            return
        world.sleep(0.05)
        seen = world.router.read(world.model)
    assert seen == expected


def counted(world: ConformanceWorld, slow_ms: int = 1000) -> Mapping[int, ArmCounters]:
    """The counters, after the time an engine may take to show a finished request."""
    world.sleep(0.3)
    return world.telemetry.read(world.model, slow_ms)


def told_empty(
    world: ConformanceWorld, count: int, *, sessions: bool = True
) -> Mapping[int, ArmCounters]:
    """The counters once they tell of `count` empty answers: programs tell a little later."""
    found = counted(world)
    for _ in range(40):
        told = sum(arm.sessions_empty if sessions else arm.empty for arm in found.values())
        if told >= count:
            break
        found = counted(world)
    return found


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

    # Sessions

    def test_distinct_sessions_are_counted_and_so_are_those_that_failed(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        sides = {}
        for number in range(12):
            name = f"session-{number}"
            (sides[name],) = world.send(3, session=name)
            if number % 3 == 0:
                world.send_bad(2, session=name)
        after = counted(world)
        for release in (world.first, world.second):
            of_release = [name for name, side in sides.items() if side == release]
            arm = after.get(release, ArmCounters())
            assert arm.sessions == len(of_release)
            failed = [name for name in of_release if int(name.split("-")[1]) % 3 == 0]
            assert arm.sessions_failed == len(failed)
            assert arm.sessions_slow <= arm.sessions

    def test_a_request_without_a_session_is_one(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        answered = world.send(15)
        after = counted(world)
        assert {release: arm.sessions for release, arm in after.items() if arm.sessions} == answered

    def test_sessions_count_anew_with_other_weights_but_for_those_that_failed(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        for number in range(8):
            world.send(1, session=f"session-{number}")
        world.send_bad(1, session="session-0")
        assert sum(arm.sessions for arm in counted(world).values()) == 8
        route(world, (world.first, 20), (world.second, 80))
        assert sum(arm.sessions for arm in counted(world).values()) == 0
        for number in range(8):
            world.send(1, session=f"session-{number}")
        assert sum(arm.sessions for arm in counted(world).values()) == 7

    def test_without_a_comparison_no_sessions_are_told(self, world: ConformanceWorld) -> None:
        serve(world, world.first)
        route(world, (world.first, 100))
        world.send(5, session="one")
        assert counted(world)[world.first].sessions == 0

    # What programs tell

    def test_answers_that_say_nothing_are_told_by_request_and_by_session(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        before = counted(world)
        sides = {}
        for number in range(12):
            name = f"session-{number}"
            (sides[name],) = world.send(1, session=name)
            if number % 3 == 0:
                world.send_empty(2, session=name)
        mute = {
            release: sum(side == release for name, side in sides.items() if int(name[8:]) % 3 == 0)
            for release in (world.first, world.second)
        }
        after = told_empty(world, sum(mute.values()))
        for release, sessions in mute.items():
            arm = after.get(release, ArmCounters())
            assert arm.sessions_empty == arm.sessions_fallback == sessions
            earlier = before.get(release, ArmCounters())
            assert arm.empty - earlier.empty == arm.fallbacks - earlier.fallbacks == 2 * sessions
            assert arm.errors == earlier.errors

    def test_what_is_told_never_falls_nor_passes_the_requests(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        before = first = counted(world)
        for _ in range(6):
            world.send_empty(4)
            now = world.telemetry.read(world.model, 1000)
            for release, arm in now.items():
                earlier = before.get(release, ArmCounters())
                assert earlier.empty <= arm.empty <= arm.requests
                assert earlier.sessions_empty <= arm.sessions_empty <= arm.sessions
            before = now
            world.sleep(0.1)
        last = told_empty(world, 24)
        gained = sum(arm.empty for arm in last.values()) - sum(arm.empty for arm in first.values())
        assert gained == 24

    def test_sessions_that_were_told_of_are_left_out_later(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 50), (world.second, 50))
        world.send_empty(1, session="session-0")
        told_empty(world, 1)
        route(world, (world.first, 20), (world.second, 80))
        for number in range(3):
            world.send_empty(1, session=f"session-{number}")
        assert sum(arm.sessions_empty for arm in told_empty(world, 2).values()) == 2
        world.sleep(0.5)
        assert sum(arm.sessions_empty for arm in counted(world).values()) == 2

    def test_empty_answers_to_copies_are_told_nowhere(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 100), mirror=Mirror(world.second, 100))
        before = counted(world)
        world.send_empty(5)
        after = told_empty(world, 5, sessions=False)
        empty = ArmCounters()
        gained = after[world.first].empty - before.get(world.first, empty).empty
        assert gained == 5
        assert after.get(world.second, empty).empty == before.get(world.second, empty).empty
        pairs = world.telemetry.pairs(world.model, world.first, world.second, 0.0)
        assert len(pairs) == 5
        assert all(pair.baseline.empty and pair.candidate.empty for pair in pairs)

    # Mirrors and second answers

    def test_a_mirror_is_read_back_and_answers_nobody(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        written = route(world, (world.first, 100), mirror=Mirror(world.second, 100))
        assert world.router.read(world.model) == written
        before = counted(world)
        assert world.send(20) == {world.first: 20}
        after = counted(world)
        empty = ArmCounters()
        assert after.get(world.second, empty) == before.get(world.second, empty)
        gained = after[world.first].requests - before.get(world.first, empty).requests
        assert gained == 20

    def test_a_mirror_to_a_dead_release_harms_nobody(self, world: ConformanceWorld) -> None:
        serve(world, world.first, world.second)
        route(world, (world.first, 100), mirror=Mirror(world.second, 100))
        world.fail(world.second)
        assert world.send(10) == {world.first: 10}
        assert counted(world)[world.first].errors == 0

    def test_what_a_dead_release_fails_on_another_answers_and_it_counts(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        written = route(world, (world.first, 50), (world.second, 50), retry_to=world.first)
        assert world.router.read(world.model) == written
        sides = {}
        for number in range(16):
            (sides[f"session-{number}"],) = world.send(1, session=f"session-{number}")
        before = counted(world)
        world.fail(world.second)
        for name in sides:
            assert world.send(1, session=name) == {world.first: 1}
        after = counted(world)
        failed = after[world.second].errors - before.get(world.second, ArmCounters()).errors
        assert failed == sum(side == world.second for side in sides.values())
        assert after[world.first].errors == 0
        assert after[world.second].sessions_failed == failed

    def test_a_route_without_mirror_and_second_answers_is_read_back_so(
        self, world: ConformanceWorld
    ) -> None:
        serve(world, world.first, world.second)
        route(
            world,
            (world.first, 90),
            (world.second, 10),
            mirror=Mirror(world.second, 5),
            retry_to=world.first,
        )
        written = route(world, (world.first, 100))
        assert world.router.read(world.model) == written
        assert world.send(5) == {world.first: 5}
