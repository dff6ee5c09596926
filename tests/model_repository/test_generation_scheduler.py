"""Who is computed when: one suite, over a table of logits and over the program's real engines."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.generation.jobs import Ending, Job
from model_repository.programs.generation.questions import Question
from model_repository.programs.generation.rules import Rules
from model_repository.programs.generation.scheduler import Bounds, Scheduler
from model_repository.programs.generation.worker import Worker

from . import generation_engines as engines
from . import generation_world as world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
TableEngine = engines.TableEngine
VARIANTS = ["llm", "translation", "llm-openvino", "translation-openvino"]


def rules(vocabulary: int = TableEngine.VOCABULARY, end: int = TableEngine.END) -> Rules:
    allowed = np.zeros(vocabulary, np.float32)
    allowed[vocabulary - 1] = -np.inf
    return Rules(
        frozenset({end}),
        (),
        allowed,
        400,
        60,
        causal=True,
        prompt_template="{text}",
        special_words=(),
    )


def alone(engine: Any, rules: Rules, question: Question) -> tuple[list[int], float, float]:
    """The same greedy choice, written plainly for one question."""
    following, state = engine.start([question.prompt])
    tokens: list[int] = []
    scores: list[float] = []
    entropies: list[float] = []
    while True:
        logits, state = engine.step(following, state)
        row = (logits[0] + rules.allowed).astype(np.float64)
        best = int(row.argmax())
        shares = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        scores.append(float(np.log(shares[best])))
        entropies.append(-float(sum(p * np.log(p) for p in shares if p)))
        if best in rules.end:
            break
        tokens.append(best)
        if len(scores) == question.limit:
            break
        following = np.array([best])
    return tokens, float(np.mean(scores)), float(np.mean(entropies))


def check(job: Job, engine: Any, rules: Rules) -> None:
    """A job that has ended has the tokens of its question alone, or their beginning."""
    tokens, average, entropy = alone(engine, rules, job.question)
    if job.progress.ending is Ending.CANCELLED:
        assert list(job.tokens()) == tokens[: len(job.tokens())]
        return
    assert job.progress.ending is Ending.ANSWERED
    assert list(job.tokens()) == tokens
    assert job.progress.token_count == len(tokens)
    assert job.progress.average_log_probability == pytest.approx(average, abs=1e-4)
    assert job.progress.entropy == pytest.approx(entropy, abs=1e-4)
    assert job.is_cut_off is (job.chosen == len(tokens) == job.question.limit)


def finish(scheduler: Scheduler[Any], most: int = 500) -> int:
    """Rounds until nothing is under way."""
    rounds = 1
    while scheduler.round():
        rounds += 1
        assert rounds < most
    return rounds


def asked(*prompt: int, limit: int = 12) -> Job:
    return Job(Question(prompt, limit))


REQUESTS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 12), min_size=1, max_size=6),  # prompt
        st.integers(1, 30),  # limit
        st.integers(0, 25),  # the round in which it comes
        st.none() | st.integers(0, 40),  # the round in which it is cancelled
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=120, deadline=None)
@given(
    requests=REQUESTS,
    seed=st.integers(0, 20),
    bias=st.sampled_from([-9.0, 0.0, 1.0]),
    max_live=st.integers(1, 8),
)
def test_however_requests_come_and_go_each_gets_its_own_answer(
    requests: list[Any], seed: int, bias: float, max_live: int
) -> None:
    engine = TableEngine(seed, bias)
    scheduler = Scheduler(engine, rules(), Bounds(max_live, 20))
    jobs = [(asked(*prompt, limit=limit), come, gone) for prompt, limit, come, gone in requests]
    done, number, more = 0, 0, True
    while more or number <= 40:
        for job, come, gone in jobs:
            if come == number:
                assert scheduler.submit(job) == ""
            job.cancelled |= gone == number
        here = [job for job, come, _ in jobs if come <= number]
        live = [job for job in here if job.is_live and not job.cancelled]
        before = {job: job.chosen for job in live}
        more = scheduler.round()
        number += 1
        grown = {job: job.chosen - count for job, count in before.items()}
        assert set(grown.values()) <= {0, 1}, "no request gets two tokens while another waits"
        running = [job for job in live if before[job]]
        assert all(grown[job] == 1 for job in running), "each one under way gets one each round"
        assert scheduler.live <= max_live
        if len(live) <= max_live:
            assert all(grown.values()), "with room, a new request has a token within its round"
        done += 1
        assert done < 600
    for job, _, _ in jobs:
        check(job, engine, rules())
    counts = scheduler.counts
    assert counts.tokens == sum(job.chosen for job, _, _ in jobs)
    assert counts.answered + counts.cancelled == len(jobs)
    assert (scheduler.live, scheduler.waiting, counts.failed, counts.refused) == (0, 0, 0, 0)


@pytest.fixture(
    params=["table", *(pytest.param(name, marks=pytest.mark.engine) for name in VARIANTS)]
)
def engine(request: Any, shared: Path) -> Iterator[tuple[Any, Rules]]:
    """A table, or the engine of a toy variant as it serves."""
    if request.param == "table":
        yield TableEngine(4, -1.0), rules()
        return
    folder = world.toys(shared) / request.param
    remote = engines.RemoteEngine(folder)
    yield remote, Rules.load(folder)
    remote.close()


PROMPTS = [
    (5,),
    (7, 8, 9, 10, 11, 12, 3),
    (3, 4),
    (6, 6, 6, 6),
    (9, 2, 4, 4, 4, 10, 11, 5, 3, 2),
    (1, 2),
]
LIMITS = (30, 4, 25, 30, 9, 30)


def test_batches_that_grow_and_shrink_answer_as_one_by_one(engine: tuple[Any, Rules]) -> None:
    computes, limits = engine
    scheduler = Scheduler(computes, limits, Bounds(5, 10))
    jobs = [asked(*prompt, limit=limit) for prompt, limit in zip(PROMPTS, LIMITS, strict=True)]
    come = {0: [0, 1], 3: [2], 6: [3, 4, 5]}
    for number in range(40):
        for place in come.get(number, []):
            assert scheduler.submit(jobs[place]) == ""
        if number == 12:
            jobs[3].cancelled = True
        scheduler.round()
    finish(scheduler)
    for job in jobs:
        check(job, computes, limits)


def test_ended_rows_leave_by_halves_and_cancelled_ones_at_once(engine: tuple[Any, Rules]) -> None:
    computes, limits = engine
    logits, state = computes.step(*computes.start(PROMPTS[:4]))
    assert logits.shape == (4, len(limits.allowed))
    assert logits.dtype == np.float32
    kept = computes.gather([(state, np.array([2, 1]))])
    after, _ = computes.step(np.array([3, 5]), kept)
    for row, (prompt, token) in enumerate([(PROMPTS[2], 3), (PROMPTS[1], 5)]):
        first, state = computes.step(*computes.start([prompt]))
        assert np.allclose(first[0], logits[[2, 1][row]], atol=1e-3)
        second, _ = computes.step(np.array([token]), state)
        assert np.allclose(second[0], after[row], atol=1e-3)


def test_rows_of_different_lengths_join(engine: tuple[Any, Rules]) -> None:
    computes, limits = engine
    states = []
    for prompts, tokens in ((PROMPTS[:2], (4, 4)), (PROMPTS[4:5], ())):
        following, state = computes.start(prompts)
        for token in tokens:
            _, state = computes.step(following, state)
            following = np.full(len(prompts), token)
        states.append(state)
    every = [(states[0], np.arange(2)), (states[1], np.arange(1))]
    joined, state = computes.step(np.array([6, 7, following[0]]), computes.gather(every))
    assert joined.shape == (3, len(limits.allowed))
    # The longer target leaves, and with it the columns that only it has.
    left, _ = computes.step(np.array([9]), computes.gather([(state, np.array([2]))]))
    told: list[tuple[Sequence[int], Sequence[int]]] = [
        (PROMPTS[0], (4, 6)),
        (PROMPTS[1], (4, 7)),
        (PROMPTS[4], (9,)),
    ]
    found = [joined[0], joined[1], left[0]]
    for (prompt, said), logits in zip(told, found, strict=True):
        expected, state = computes.step(*computes.start([prompt]))
        for token in said:
            expected, state = computes.step(np.array([token]), state)
        assert np.allclose(logits, expected[0], atol=1e-3)


def test_one_group_costs_one_call_a_token_and_halves_are_dropped() -> None:
    engine = TableEngine(3, 1.0)
    scheduler = Scheduler(engine, rules(), Bounds(16, 0))
    for number in range(16):
        scheduler.submit(asked(1 + number % 12, number % 5 + 1, limit=40))
    finish(scheduler)
    kinds = [name for name, _ in engine.calls]
    sizes = [size for _, size in engine.calls]
    assert kinds == ["start"] + ["step"] * (len(kinds) - 1)
    assert sizes == sorted(sizes, reverse=True)
    sizes_kept = [16, *engine.gathered]
    assert all(2 * after <= before for before, after in pairwise(sizes_kept))
    assert scheduler.counts.steps == len(engine.calls)


def test_rows_that_have_ended_leave_when_they_are_half() -> None:
    engine = TableEngine(3, -9.0)
    scheduler = Scheduler(engine, rules(), Bounds())
    for limit in (2, 3, 6, 9):
        scheduler.submit(asked(3, limit=limit))
    finish(scheduler)
    assert [size for _, size in engine.calls] == [4, 4, 4, 4, 2, 2, 2, 1, 1, 1]


def test_a_cancelled_request_costs_nothing_more() -> None:
    engine = TableEngine(3, -9.0)
    scheduler = Scheduler(engine, rules(), Bounds(4, 4))
    job, *others = (asked(3, limit=60) for _ in range(4))
    for one in (job, *others):
        scheduler.submit(one)
    scheduler.round()
    job.cancelled = True
    scheduler.round()
    assert engine.calls[-1] == ("step", 3), "it left the batch before the next step"
    assert job.progress.ending is Ending.CANCELLED
    finish(scheduler)
    assert {one.progress.ending for one in others} == {Ending.ANSWERED}
    other = asked(5, limit=60)
    scheduler.submit(other)
    scheduler.round()
    other.cancelled = True
    calls = len(engine.calls)
    assert not scheduler.round()
    assert len(engine.calls) == calls
    assert scheduler.counts.cancelled == 2


def test_a_request_cancelled_while_it_waits_is_never_computed() -> None:
    engine = TableEngine(3, -9.0)
    scheduler = Scheduler(engine, rules(), Bounds(1, 4))
    first, second, third = asked(3), asked(4), asked(5)
    for job in (first, second, third):
        scheduler.submit(job)
    scheduler.round()
    second.cancelled = True
    finish(scheduler)
    assert second.progress.ending is Ending.CANCELLED
    assert second.chosen == 0
    assert third.progress.ending is Ending.ANSWERED


def test_more_than_is_bounded_is_refused_until_there_is_room() -> None:
    scheduler = Scheduler(TableEngine(3, -9.0), rules(), Bounds(2, 1))
    jobs = [asked(3, limit=2) for _ in range(3)]
    assert [scheduler.submit(job) for job in jobs] == ["", "", ""]
    scheduler.round()
    assert (scheduler.live, scheduler.waiting) == (2, 1)
    assert "2 requests are being answered and 1 wait" in scheduler.submit(asked(5))
    finish(scheduler)
    assert scheduler.submit(asked(5)) == ""
    assert scheduler.counts.refused == 1


@pytest.mark.parametrize("bounds", [(0, 5), (3, -1)])
def test_bounds_that_let_nothing_through_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give at least 1 and 0"):
        Bounds(*bounds)


def test_a_failing_engine_fails_what_it_computed_together() -> None:
    engine = TableEngine(3, -9.0)
    engine.fault[9] = RuntimeError("out of memory")
    reported: list[Exception] = []
    scheduler = Scheduler(engine, rules(), Bounds(), report=reported.append)
    sound = asked(3, limit=20)
    scheduler.submit(sound)
    for _ in range(3):
        scheduler.round()
    bad, beside = asked(9), asked(4)
    scheduler.submit(bad)
    scheduler.submit(beside)
    finish(scheduler)
    later = asked(5)
    scheduler.submit(later)
    finish(scheduler)
    assert bad.progress.ending is Ending.FAILED
    assert bad.progress.reason == "the engine failed: RuntimeError"
    assert beside.progress.ending is Ending.FAILED
    assert later.progress.ending is Ending.ANSWERED
    # It had joined them: the fault comes with their second token.
    assert sound.progress.ending is Ending.FAILED
    assert [str(error) for error in reported] == ["out of memory"]
    assert scheduler.counts.failed == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_fail_their_row_only(value: float) -> None:
    engine = TableEngine(3, -9.0)
    engine.fault[9] = value
    scheduler = Scheduler(engine, rules(), Bounds())
    bad, beside = asked(9, 2), asked(4)
    scheduler.submit(bad)
    scheduler.submit(beside)
    finish(scheduler)
    assert bad.progress.ending is Ending.FAILED
    assert "not numbers" in bad.progress.reason
    assert len(bad.tokens()) == 1, "what came before it stands"
    check(beside, engine, rules())


def test_an_answer_ends_where_it_is_stopped() -> None:
    engine = TableEngine(3, -9.0)
    whole, _, _ = alone(engine, rules(), asked(3, limit=30).question)

    def is_stopped(tokens: Sequence[int]) -> bool:
        return list(tokens[-2:]) == whole[6:8]

    scheduler = Scheduler(engine, rules(), Bounds(), is_stopped=is_stopped)
    job = asked(3, limit=30)
    scheduler.submit(job)
    finish(scheduler)
    assert list(job.tokens()) == whole[:8]
    assert job.progress.ending is Ending.ANSWERED


class Slow(TableEngine):  # type: ignore[misc,valid-type]  # loaded by path
    """An engine whose steps wait to be let go."""

    def __init__(self) -> None:
        super().__init__(3, -9.0)
        self.gate = threading.Semaphore(0)

    def step(self, tokens: Any, state: Any) -> Any:
        assert self.gate.acquire(timeout=10)
        return super().step(tokens, state)


def test_the_worker_answers_what_is_under_way_before_it_ends() -> None:
    scheduler = Scheduler(TableEngine(3, -9.0), rules(), Bounds(2, 20))
    progressed = threading.Event()
    worker = Worker(scheduler, progressed.set)
    jobs = [asked(3, limit=30) for _ in range(8)]
    assert [worker.submit(job) for job in jobs] == [""] * 8
    worker.close(10)
    assert {job.progress.ending for job in jobs} == {Ending.ANSWERED}
    assert progressed.is_set()
    assert "shutting down" in worker.submit(asked(3))


def test_what_is_not_answered_in_time_is_told_so() -> None:
    engine = Slow()
    scheduler: Scheduler[Any] = Scheduler(engine, rules(), Bounds(1, 20))
    worker = Worker(scheduler, lambda: None)
    jobs = [asked(3, limit=30) for _ in range(2)]
    for job in jobs:
        worker.submit(job)
    threading.Timer(0.4, engine.gate.release).start()
    started = time.monotonic()
    worker.close(0.2)
    assert time.monotonic() - started < 5
    assert {job.progress.ending for job in jobs} == {Ending.CLOSED}
    assert "shut down" in jobs[0].progress.reason
