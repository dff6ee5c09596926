"""Whatever happens, in whatever order: no illegal state, one writer, and a way to a legal end.

Controllers are started, stand still anywhere, go on late or are killed, while people ask for
things, releases turn bad, engines lose what they had, the journal refuses and clocks are set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from canary.ports import RevisionState
from canary.rollout import Phase, fold
from registry.errors import IntegrityError, SluiceError
from tests.canary.world import Behaviour

from .crashing import Killed, Points, crashing_controller
from .happenings import BEHAVIOURS, EVENTS, PLANS, RELEASED, Happenings
from .stage import MODEL
from .suspended import Suspended

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.rollout.controller import Controller
    from tests.canary.world import MemoryWorld

EXAMPLES, STEPS_EACH = 250, 50
AT_LEAST = 10_000
"""Steps of a run, all examples together."""
ENOUGH_POINTS, CHUNK = 4000, 100
"""No way to an end is longer, in points passed; how many are passed between two looks."""

REACHED = {
    *("loading", "shifting", "promoted", "baking", "rolling-back", "paused", "halted"),
    *("settled", "rolled-back", "rejected", "FencedError", "LeaseHeldError"),
    *("step-skipped", "returning", "compared"),
}
"""What a run must have seen to be worth anything."""
ACTORS = st.sampled_from(["ann", "bob"])
POINTS = st.sampled_from([1, 2, 3, 5, 8, 13, 21, 34, 34, 100])


class RolloutMachine(Happenings, RuleBasedStateMachine):
    """Release 1 serves; then anything may happen."""

    steps = 0
    seen: frozenset[str] = frozenset()
    """Outcomes and phases that were reached in all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.world.watch = self.watch
        self.admitted = set(self.world.admitted)
        self.ever_admitted = set(self.admitted)
        self.acting = Points(at=0, act=lambda: None)
        self.last_token = self.route_token = 0
        self.since_calm = 0

    # What controllers are asked, and how far they get

    def begin(self, actor: str, ask: Callable[[Controller], object], points: int) -> None:
        def call(passed: Points) -> object:
            def sleep(seconds: float) -> None:
                passed.passing("sleep")
                self.world.sleep(seconds)

            return ask(crashing_controller(self.stage, passed, sleep=sleep, actor=actor))

        self.go_on(Suspended(actor, call), points)

    def go_on(self, one: Suspended, points: int) -> None:
        self.acting = one.points
        if one not in self.standing:
            self.standing.append(one)
        one.go(points)
        if one.ended:
            self.standing.remove(one)
            self.judge(one)

    def judge(self, one: Suspended) -> None:
        """A controller ends with a result, or with an error that a person can read."""
        if one.error is None:
            self.note(str(getattr(one.result, "outcome", "")))
            return
        if not isinstance(one.error, SluiceError) or isinstance(one.error, IntegrityError):
            raise one.error
        assert str(one.error)
        assert "\n" not in str(one.error)
        self.note(type(one.error).__name__)

    def note(self, what: str) -> None:
        if what not in self.seen:
            RolloutMachine.seen |= {what}

    @precondition(lambda self: len(self.standing) < 3)
    @rule(
        candidate=st.sampled_from(RELEASED),
        plan=st.sampled_from(sorted(PLANS)),
        replace=st.booleans(),
        points=POINTS,
    )
    def promote(self, candidate: int, plan: str, replace: bool, points: int) -> None:
        chosen = PLANS[plan]
        self.begin("ci", lambda one: one.promote(MODEL, candidate, chosen, replace=replace), points)

    @precondition(lambda self: len(self.standing) < 3)
    @rule(to=st.sampled_from([None, *RELEASED]), points=POINTS)
    def roll_back(self, to: int | None, points: int) -> None:
        self.begin("ann", lambda one: one.rollback(MODEL, to, "complaints"), points)

    @precondition(lambda self: len(self.standing) < 3)
    @rule(actor=ACTORS, take_over=st.booleans(), points=POINTS)
    def resume(self, actor: str, take_over: bool, points: int) -> None:
        self.begin(actor, lambda one: one.resume(MODEL, take_over=take_over), points)

    @precondition(lambda self: len(self.standing) < 3)
    @rule(what=st.sampled_from(["abort", "pause", "run"]), actor=ACTORS, points=POINTS)
    def ask(self, what: str, actor: str, points: int) -> None:
        asked: dict[str, Callable[[Controller], object]] = {
            "abort": lambda one: one.abort(MODEL),
            "pause": lambda one: one.request_pause(MODEL),
            "run": lambda one: one.run(MODEL, take_over=True),
        }
        self.begin(actor, asked[what], points)

    @precondition(lambda self: len(self.standing) < 3 and self.can_skip)
    @rule(points=st.sampled_from([3, 13, 34]))
    def skip(self, points: int) -> None:
        self.begin("ann", lambda one: one.skip(MODEL, "seen enough", take_over=True), points)

    @property
    def can_skip(self) -> bool:
        rollout = self.stage.serving.rollout
        return rollout is not None and rollout.phase is Phase.SHIFTING

    @precondition(lambda self: self.standing)
    @rule(which=st.integers(0, 2), points=POINTS)
    def goes_on(self, which: int, points: int) -> None:
        self.go_on(self.standing[which % len(self.standing)], points)

    @precondition(lambda self: self.standing)
    @rule(which=st.integers(0, 2))
    def is_killed(self, which: int) -> None:
        one = self.standing.pop(which % len(self.standing))
        one.kill()
        assert isinstance(one.error, Killed)

    # What happens to the world

    @rule(release=st.sampled_from(RELEASED), how=st.sampled_from(sorted(BEHAVIOURS)))
    def turns(self, release: int, how: str) -> None:
        self.behave(release, BEHAVIOURS[how])

    @rule(what=st.sampled_from(EVENTS))
    def happens(self, what: tuple[str, Any]) -> None:
        name, how = what
        getattr(self, name)(how)

    # What must hold

    def watch(self, world: MemoryWorld) -> None:
        """After every change: who changed it might, and to where."""
        newest = self.acting.token == self.journal.newest[MODEL].token
        name, argument = world.calls[-1]
        self.admitted |= world.admitted
        self.ever_admitted |= world.admitted
        if name == "route":
            assert world.route is not None
            # One that was fenced off may be late, but not later than its successor's first route.
            assert world.route.token == self.acting.token >= self.route_token
            self.route_token = world.route.token
            named = {share.release for share in world.route.shares if share.weight}
            if world.route.mirror is not None:
                named.add(world.route.mirror.release)
            assert not newest or named <= self.admitted, f"unadmitted release in {argument}"
        if name == "stop" and newest:
            weight = world.route.weight_of(int(str(argument))) if world.route else 0
            assert not weight or world.stopped_as is not RevisionState.READY, "stopped serving"
            self.admitted.discard(int(str(argument)))

    @invariant()
    def the_journal_tells_a_legal_story(self) -> None:
        RolloutMachine.steps += 1
        self.since_calm += 1
        before = self.stage.folded.sequence
        rollout = self.stage.serving.rollout  # verifies the chain, and folds what is new
        for entry in self.journal.read(MODEL, before):
            self.note(str(entry.body.get("phase", entry.body.get("outcome", entry.kind))))
        if rollout is not None:
            self.note(rollout.phase.value)
        for token, newest in self.journal.tokens:
            assert token == newest >= self.last_token
            self.last_token = token
        self.journal.tokens.clear()

    @invariant()
    def traffic_goes_to_what_was_admitted(self) -> None:
        route = self.world.route
        if route is None:
            return
        assert sum(share.weight for share in route.shares) == 100
        assert {share.release for share in route.shares if share.weight} <= self.ever_admitted
        assert route.token <= self.journal.newest[MODEL].token

    @precondition(lambda self: self.since_calm > 20)
    @rule()
    def all_is_calm_again(self) -> None:
        """Every controller is dead, every fault is over: a person comes, twice, and it is well."""
        self.kill_all()
        self.journal.failures = []
        for refuses in (self.route_writes_fail, self.route_reads_fail, self.counters_fail):
            refuses(0)
        self.world.sleep(61)
        for again in range(4):
            self.finish(lambda one: one.resume(MODEL, take_over=True))
            rollout = self.stage.serving.rollout
            if again and (rollout is None or not rollout.waits):
                break
        self.check_rest()
        if self.stage.serving.rollout is not None:
            # Paused or halted: a person goes back, to what can be gone back to.
            self.world.behaviours.clear()
            self.finish(lambda one: one.rollback(MODEL))
            assert self.stage.serving.rollout is None
            self.check_rest()
        self.since_calm = 0

    def finish(self, ask: Callable[[Controller], object]) -> None:
        """Ask, and watch until the controller ends or waits for somebody's word."""
        self.begin("ann", ask, CHUNK)
        for _ in range(ENOUGH_POINTS // CHUNK):
            rollout = self.stage.serving.rollout
            if not self.standing or (rollout is not None and rollout.waits):
                break
            self.go_on(self.standing[0], CHUNK)
        waits = self.stage.serving.rollout
        assert not self.standing or (waits and waits.waits), f"it never ends: {self.last_words()}"
        self.kill_all()

    def last_words(self) -> str:
        told = [f"{one.kind} {dict(one.body)}" for one in self.stage.entries()[-12:]]
        points = self.acting.names[-12:]
        return "\n".join([*told, str(points), str(self.stage.serving.rollout)])

    def check_rest(self) -> None:
        serving, rollout = self.stage.serving, self.stage.serving.rollout
        assert fold(self.stage.entries(), model=MODEL) == serving
        assert serving.live is not None
        stands = (Phase.PAUSED, Phase.HALTED)
        assert rollout is None or rollout.phase in stands or rollout.waits
        behaviour = self.world.behaviour(serving.live)
        well = self.world.state(serving.live) is RevisionState.READY and not behaviour.unfit
        weights = self.stage.weights
        if well and behaviour == Behaviour():
            assert weights.get(serving.live, 0) > 0, "a live release that is well has no traffic"
        if rollout is None and well:
            assert weights == {serving.live: 100}
            assert self.stage.aliases[-1][2] == serving.live if self.stage.aliases else True
            assert set(serving.warm) == set(self.world.revisions)

    def teardown(self) -> None:
        self.kill_all()


def test_any_order_of_events_is_survived() -> None:
    RolloutMachine.steps = 0
    run_state_machine_as_test(
        RolloutMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{RolloutMachine.steps} steps")  # noqa: T201 - what the run was worth
    assert RolloutMachine.steps >= AT_LEAST
    assert RolloutMachine.seen >= REACHED
