from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from registry.errors import FencedError, LeaseHeldError, UserError
from registry.journal import Journal
from registry.lease import Lease, Leases

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    journal = Journal(url)
    yield journal
    journal.close()


@pytest.fixture
def leases(journal: Journal) -> Leases:
    return Leases(journal)


def write(journal: Journal, lease: Lease, at: float) -> None:
    journal.append(lease.model, "decided", {}, actor=lease.holder, at=at, lease=lease)


def test_one_holder_at_a_time(leases: Leases) -> None:
    first = leases.acquire("m", "alice", now=100.0, ttl_s=10.0)
    assert first == Lease("m", "alice", 1, 110.0)
    with pytest.raises(LeaseHeldError, match="m: alice is acting on it for another 3 s; wait"):
        leases.acquire("m", "bob", now=107.0, ttl_s=10.0)
    assert leases.acquire("other", "bob", now=107.0, ttl_s=10.0).token == 1
    assert leases.acquire("m", "bob", now=110.0, ttl_s=10.0) == Lease("m", "bob", 2, 120.0)


def test_a_look_shows_the_newest_lease_and_waits_for_no_writer(
    journal: Journal, leases: Leases
) -> None:
    assert leases.current("m") is None
    lease = leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    with journal.engine.begin():
        assert leases.current("m") == lease
    leases.take_over("m", "oncall", now=1.0, ttl_s=5.0)
    assert leases.current("m") == Lease("m", "oncall", 2, 6.0)


def test_its_own_holder_is_held_off_too(leases: Leases) -> None:
    leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    with pytest.raises(LeaseHeldError):
        leases.acquire("m", "alice", now=1.0, ttl_s=10.0)


def test_a_released_lease_may_be_acquired_at_once(journal: Journal, leases: Leases) -> None:
    first = leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    leases.release(first)
    leases.release(first)
    with pytest.raises(FencedError, match="the lease is over"):
        write(journal, first, at=1.0)
    second = leases.acquire("m", "bob", now=1.0, ttl_s=10.0)
    leases.release(first)
    write(journal, second, at=2.0)
    assert second.token == 2


def test_a_renewed_lease_lasts_longer(journal: Journal, leases: Leases) -> None:
    lease = leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    renewed = leases.renew(lease, now=9.0, ttl_s=10.0)
    assert (renewed.token, renewed.expires_at) == (1, 19.0)
    # The database knows, whichever value is shown.
    write(journal, lease, at=18.0)
    with pytest.raises(FencedError, match="the lease is over"):
        write(journal, renewed, at=19.0)


def test_a_paused_holder_is_fenced(journal: Journal, leases: Leases) -> None:
    old = leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    write(journal, old, at=9.9)
    for act in (
        lambda: write(journal, old, at=10.0),
        lambda: leases.renew(old, now=10.0, ttl_s=10.0),
    ):
        with pytest.raises(FencedError, match=r"^m: the lease is over$"):
            act()
    new = leases.acquire("m", "bob", now=10.0, ttl_s=10.0)
    for act in (
        lambda: write(journal, old, at=5.0),
        lambda: leases.renew(old, now=5.0, ttl_s=10.0),
    ):
        with pytest.raises(FencedError, match=r"^m: the lease was taken over by bob$"):
            act()
    write(journal, new, at=11.0)
    assert [entry.actor for entry in journal.read("m")] == ["alice", "bob"]


def test_a_rollback_takes_over_from_a_living_holder(journal: Journal, leases: Leases) -> None:
    old = leases.acquire("m", "alice", now=0.0, ttl_s=10.0)
    new = leases.take_over("m", "oncall", now=1.0, ttl_s=10.0)
    assert new.token == old.token + 1
    with pytest.raises(FencedError, match="taken over by oncall"):
        write(journal, old, at=1.0)
    leases.release(old)
    write(journal, new, at=1.0)
    assert leases.take_over("fresh", "oncall", now=1.0, ttl_s=1.0).token == 1


@pytest.mark.parametrize(
    ("now", "ttl_s"), [(float("nan"), 1.0), (0.0, float("inf")), (0.0, 0.0), (0.0, -1.0)]
)
def test_times_that_are_none_are_refused(leases: Leases, now: float, ttl_s: float) -> None:
    held = leases.acquire("held", "alice", now=0.0, ttl_s=10.0)
    asks: tuple[Callable[[], Lease], ...] = (
        lambda: leases.acquire("m", "bob", now=now, ttl_s=ttl_s),
        lambda: leases.take_over("m", "bob", now=now, ttl_s=ttl_s),
        lambda: leases.renew(held, now=now, ttl_s=ttl_s),
    )
    for ask in asks:
        with pytest.raises(ValueError, match="a lease from"):
            ask()


def test_an_illegal_name_is_refused(leases: Leases) -> None:
    with pytest.raises(UserError, match="is not a model name"):
        leases.acquire("../m", "alice", now=0.0, ttl_s=1.0)


HOLDER = """
import sys, time
from registry.journal import Journal
from registry.lease import Leases
journal = Journal(sys.argv[1])
lease = Leases(journal).acquire("m", "sleeper", now=time.time(), ttl_s=0.3)
journal.append("m", "decided", {}, actor="sleeper", at=time.time(), lease=lease)
print(lease.expires_at, flush=True)
sys.stdin.readline()
try:
    journal.append("m", "decided", {}, actor="sleeper", at=float(sys.argv[2]), lease=lease)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.mark.parametrize("clock", ["right", "slow"])
def test_a_process_that_slept_past_its_lease_writes_nothing(
    url: str,
    journal: Journal,
    leases: Leases,
    start: Callable[..., subprocess.Popen[str]],
    clock: str,
) -> None:
    # A clock that stood still while the process slept must not help it.
    child = start(HOLDER, url, time.time() + (60.0 if clock == "right" else 0.0))
    assert child.stdout is not None
    expires_at = float(child.stdout.readline())
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(max(0.0, expires_at - time.time()))
    write(journal, leases.acquire("m", "waiter", now=time.time(), ttl_s=60.0), at=time.time())
    os.kill(child.pid, signal.SIGCONT)
    told, _ = child.communicate("go\n", timeout=30)
    assert told.strip() == "FencedError m: the lease was taken over by waiter"
    assert [entry.actor for entry in journal.read("m")] == ["sleeper", "waiter"]
    journal.verify("m")


RACER = """
import sys
from registry.errors import LeaseHeldError
from registry.journal import Journal
from registry.lease import Leases
leases = Leases(Journal(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(leases.acquire("m", sys.argv[2], now=1.0, ttl_s=10.0).token)
except LeaseHeldError:
    print("held")
"""


def test_of_processes_that_ask_at_once_one_gets_it(
    url: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    children = [start(RACER, url, f"r{number}") for number in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    answers = [child.communicate("go\n", timeout=30)[0].strip() for child in children]
    assert sorted(answers) == ["1", "held"]


class LeaseMachine(RuleBasedStateMachine):
    """Any order of asking, renewing, ending and writing, by a clock that only goes on."""

    given_out = Bundle("given_out")
    journal: Journal
    models = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.model = f"m{next(self.models)}"
        self.leases = Leases(self.journal)
        self.now = 1.0
        self.newest = 0
        self.valid_until = 0.0
        self.written: list[str] = []

    @rule(seconds=st.floats(0.1, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=given_out, holder=st.sampled_from("abc"), take=st.booleans())
    def ask(self, holder: str, take: bool) -> Lease | None:
        ask = self.leases.take_over if take else self.leases.acquire
        if not take and self.now < self.valid_until:
            with pytest.raises(LeaseHeldError):
                ask(self.model, holder, now=self.now, ttl_s=10.0)
            return None
        lease = ask(self.model, holder, now=self.now, ttl_s=10.0)
        assert lease.token == self.newest + 1
        self.newest, self.valid_until = lease.token, lease.expires_at
        return lease

    def is_valid(self, lease: Lease) -> bool:
        return lease.token == self.newest and self.now < self.valid_until

    @rule(lease=given_out)
    def renew(self, lease: Lease | None) -> None:
        if lease is None:
            return
        if not self.is_valid(lease):
            with pytest.raises(FencedError):
                self.leases.renew(lease, now=self.now, ttl_s=10.0)
            return
        self.valid_until = self.leases.renew(lease, now=self.now, ttl_s=10.0).expires_at

    @rule(lease=given_out)
    def release(self, lease: Lease | None) -> None:
        if lease is None:
            return
        self.leases.release(lease)
        if lease.token == self.newest:
            self.valid_until = 0.0

    @rule(lease=given_out)
    def write(self, lease: Lease | None) -> None:
        if lease is None:
            return
        if not self.is_valid(lease):
            with pytest.raises(FencedError):
                write(self.journal, lease, at=self.now)
            return
        write(self.journal, lease, at=self.now)
        self.written.append(lease.holder)

    @invariant()
    def only_valid_holders_wrote(self) -> None:
        assert [entry.actor for entry in self.journal.read(self.model)] == self.written


def test_any_order_of_leases_lets_only_the_newest_write(url: str) -> None:
    with closing(Journal(url)) as journal:
        LeaseMachine.journal = journal
        run_state_machine_as_test(
            LeaseMachine,
            settings=settings(max_examples=15, stateful_step_count=20, deadline=None),
        )
