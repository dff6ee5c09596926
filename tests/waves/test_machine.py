"""Whatever happens, in whatever order: waves in turn, a stop that stops, and a way to a legal end.

The regions here are as simple as a coordinator sees them; the machine and its fold are the real
ones. Rollouts end as they like, links are cut, people act in regions, and coordinators die.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from canary.rollout import Outcome, Phase
from canary.waves import ModelWaves, advance_waves, fold_waves, next_wave_action
from canary.waves_effects import PerformWave, RecordWave, Verb, WaitForRegion, WaveEffect, WavesDone
from canary.waves_states import Seen, Standing

from .stage import MODEL, PATIENCE_S, REGIONS, HomeJournal, plan

if TYPE_CHECKING:
    from typing import Literal

EXAMPLES = 200
REACHED = {
    *("wave-begun", "wave-settled", "wave-turned-back", "wave-reverted", "waves-stopped"),
    *("waves-reverting", "waves-paused", "waves-ended", "region-cut-off", "region-returned"),
    *("region-caught-up", "wave-effect-failed", "waves-rollback-requested"),
}
"""What all examples together must have seen to be worth anything."""
seen_kinds: Counter[str] = Counter()

FATES = ("settled", "settled", "settled", "rolled-back", "rejected", "paused", "dies", "fails")
EVENTS = (
    *(("drive", n) for n in (1, 2, 3, 5, 8, 13)),
    *(("drive", n) for n in (3, 5, 8)),
    *((how, place) for how in ("cut", "mend", "sent-back") for place in range(3)),
    *(("time", seconds) for seconds in (1.0, PATIENCE_S / 2, 2 * PATIENCE_S)),
    ("resume", 0),
    ("everybody-back", 0),
    ("start", 0),
)


@dataclass
class Fake:
    """One region: what is live, and the rollout under way."""

    live: int | None = 1
    previous: int | None = None
    rolling: int | None = None
    phase: Phase | None = None
    number: int = 1
    last: tuple[int, int, Outcome, str] | None = None
    is_cut: bool = False

    def look(self) -> Seen:
        if self.is_cut:
            return Seen(cut_off="no answer in time")
        return Seen(
            live=self.live,
            previous=self.previous,
            rolling=self.rolling,
            phase=self.phase,
            why="too little traffic" if self.phase is Phase.PAUSED else "",
            next_rollout=self.number + (self.rolling is not None),
            last=self.last,
        )

    def end(self, candidate: int, outcome: Outcome, live: int | None) -> None:
        self.last = (self.number, candidate, outcome, f"it {outcome}")
        self.number += 1
        if live != self.live:
            self.previous = self.live if outcome is Outcome.SETTLED else None
        self.live, self.rolling, self.phase = live, None, None


@dataclass
class Play:
    """The home's journal and three regions."""

    fates: list[str]
    journal: HomeJournal = field(default_factory=HomeJournal)
    regions: dict[str, Fake] = field(default_factory=lambda: {name: Fake() for name in REGIONS})
    state: ModelWaves = field(default_factory=lambda: ModelWaves(MODEL))
    now: float = 1e6
    candidate: int = 1

    def record(self, kind: str, body: object) -> None:
        assert isinstance(body, dict)
        entry = self.journal.append(MODEL, kind, body, actor="ci", at=self.now)
        self.state = advance_waves(self.state, entry)
        seen_kinds[kind] += 1
        self.check(kind, body)

    def check(self, kind: str, body: dict[str, object]) -> None:
        waves = self.state.waves
        if kind == "wave-begun":
            assert waves is not None
            before = REGIONS[: REGIONS.index(str(body["region"]))]
            for name in before:
                region, fake = waves.of(name), self.regions[name]
                assert region is not None
                assert region.standing is Standing.SETTLED
                assert fake.is_cut or fake.live == waves.candidate
        if kind == "waves-ended":
            self.check_end(body)

    def check_end(self, body: dict[str, object]) -> None:
        ended, owed = self.state.history[-1], self.state.owed
        for region in ended.regions:
            fake = self.regions[region.name]
            if fake.is_cut or fake.rolling is not None:
                continue
            if body["outcome"] == "settled":
                assert fake.live == ended.candidate
            elif body["outcome"] == "reverted" and region.standing is Standing.REVERTED:
                assert fake.live == region.baseline
            elif body["outcome"] == "stopped":
                assert region.standing is not Standing.BEGUN or region.name in owed

    # A coordinator

    def see(self) -> dict[str, Seen]:
        return {name: fake.look() for name, fake in self.regions.items()}

    def drive(self, most: int) -> WavesDone | None:
        """So many actions; None when they were not enough, or when nothing can be done now."""
        for _ in range(most):
            action = next_wave_action(self.state, self.see(), self.now)
            if isinstance(action, WavesDone):
                return action
            if isinstance(action, WaitForRegion):
                self.now += 1
            elif isinstance(action, RecordWave):
                self.record(action.kind, dict(action.body))
            elif not self.perform(action):
                return None
        return None

    def perform(self, action: PerformWave) -> bool:
        """Whether the coordinator outlived it."""
        self.record("wave-effect-started", action.effect.to_json())
        fate = self.fates.pop() if self.fates else "settled"
        number = action.effect.number
        if fate == "fails" or (action.effect.effect.region and self.away(action.effect.effect)):
            self.record("wave-effect-failed", {"effect": number, "reason": "it did not work"})
            return True
        self.do(action.effect.effect, fate)
        if fate == "dies":
            return False
        self.record("wave-effect-confirmed", {"effect": number, "observed": {}})
        return True

    def away(self, effect: WaveEffect) -> bool:
        return self.regions[effect.region].is_cut

    def do(self, effect: WaveEffect, fate: str) -> None:
        if effect.verb in (Verb.ALIAS, Verb.REPLICATE):
            return
        fake = self.regions[effect.region]
        if effect.verb is Verb.GO_BACK:
            if fake.live != effect.release or fake.rolling is not None:
                leaves = fake.rolling or fake.live or 0
                fake.end(leaves, Outcome.ROLLED_BACK, effect.release)
            return
        if fake.rolling is None and fake.live == effect.release:
            return
        candidate = fake.rolling or effect.release
        fake.rolling, fake.phase = candidate, Phase.SHIFTING
        if fate == "paused":
            fake.phase = Phase.PAUSED
        elif fate in {"rolled-back", "rejected"}:
            fake.end(candidate, Outcome(fate), fake.live)
        elif fate == "settled":
            fake.end(candidate, Outcome.SETTLED, candidate)

    # What happens

    def happens(self, what: str, how: float, policy: Literal["stop", "revert"]) -> None:
        fake = self.regions[REGIONS[int(how) % 3]]
        if what == "drive":
            self.drive(int(how))
        elif what in {"cut", "mend"}:
            fake.is_cut = what == "cut"
        elif what == "time":
            self.now += how
        elif what == "sent-back" and fake.rolling is None and fake.previous is not None:
            fake.end(fake.live or 0, Outcome.ROLLED_BACK, fake.previous)
        elif what == "sent-back" and fake.rolling is not None and fake.live is not None:
            fake.end(fake.rolling, Outcome.ROLLED_BACK, fake.live)
        elif what == "resume":
            self.record("waves-resume-requested", {})
        elif what == "everybody-back" and self.state.waves is not None:
            self.record("waves-rollback-requested", {"reason": "complaints"})
        elif what == "start":
            self.start(policy)

    def start(self, policy: Literal["stop", "revert"]) -> None:
        if self.state.waves is None:
            self.candidate += 1
            body = {
                "waves": self.state.next_number,
                "candidate": self.candidate,
                "regions": list(REGIONS),
                "plan": plan(policy).model_dump(mode="json"),
            }
            self.record("waves-started", body)

    def calm(self) -> None:
        """Everything is well again, and a person resumes, three times at most."""
        self.fates.clear()
        for fake in self.regions.values():
            fake.is_cut = False
            if fake.phase is Phase.PAUSED and self.foreign(fake):
                fake.end(fake.rolling or 0, Outcome.ROLLED_BACK, fake.live)
        for _ in range(3):
            self.record("waves-resume-requested", {})
            done = self.drive(400)
            if self.state.waves is None and done is not None:
                break
        assert self.state.waves is None, self.state
        assert self.state.owed == {}

    def foreign(self, fake: Fake) -> bool:
        waves = self.state.waves
        return waves is None or fake.rolling != waves.candidate


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    events=st.lists(st.sampled_from(EVENTS), min_size=5, max_size=40),
    fates=st.lists(st.sampled_from(FATES), max_size=40),
    policy=st.sampled_from(["stop", "revert"]),
)
@example(
    events=[
        ("drive", 13),
        *(("cut", 0), ("drive", 1), ("everybody-back", 0), ("drive", 13)),
        *(("time", 2 * PATIENCE_S), ("drive", 13), ("mend", 0), ("drive", 5)),
    ],
    fates=[],
    policy="stop",
)
def _survives(
    events: list[tuple[str, float]], fates: list[str], policy: Literal["stop", "revert"]
) -> None:
    play = Play(fates)
    play.start(policy)
    for what, how in events:
        play.happens(what, how, policy)
        assert all(fake.live is not None for fake in play.regions.values())
    play.calm()
    again = replace(fold_waves(play.journal.read(MODEL), model=MODEL))
    assert again == play.state


def test_any_order_of_events_is_survived() -> None:
    seen_kinds.clear()
    _survives()
    assert set(seen_kinds) >= REACHED
