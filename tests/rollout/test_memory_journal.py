"""The journal in memory does what the real one does, to the hash and to the error."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import SluiceError
from registry.journal import Journal
from registry.lease import Lease, Leases

from .memory_journal import MemoryJournal, MemoryLeases

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("one", "two")
TIMES = st.sampled_from([0.0, 4.0, 9.0, 11.0, 700.0, 4000.0])
OPERATIONS = st.tuples(
    st.sampled_from(["append", "follow", "acquire", "take_over", "renew", "release"]),
    st.sampled_from(MODELS),
    st.integers(0, 3),
    TIMES,
)


def outcome(
    journal: Journal, leases: Leases, held: list[Lease], step: tuple[object, ...]
) -> object:
    name, model, number, at = step
    lease = held[int(str(number)) % len(held)] if held and number else None
    when = float(str(at))
    try:
        if name in ("append", "follow"):
            body = {"number": number, "pair": (1, 2)}
            after = number if name == "follow" else None
            kind = f"kind {number % 2}"
            return journal.append(
                str(model), kind, body, actor="t", at=when, lease=lease, after=after
            )
        if name in ("acquire", "take_over"):
            ask = leases.acquire if name == "acquire" else leases.take_over
            held.append(ask(str(model), f"h{number}", now=when, ttl_s=10.0))
            return held[-1]
        if lease is None:
            return None
        if name == "renew":
            return leases.renew(lease, now=when, ttl_s=10.0)
        leases.release(lease)
    except SluiceError as error:
        return type(error)
    return None


def test_both_journals_agree(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=st.lists(OPERATIONS, min_size=15, max_size=25))
    def agree(steps: list[tuple[object, ...]]) -> None:
        (tmp_path / "journal.db").unlink(missing_ok=True)
        for left in tmp_path.glob("journal.db-*"):
            left.unlink()
        with closing(Journal(url)) as real:
            memory = MemoryJournal()
            one, other = Leases(real), MemoryLeases(memory)
            mine: list[Lease] = []
            theirs: list[Lease] = []
            for step in steps:
                assert outcome(real, one, mine, step) == outcome(memory, other, theirs, step)
            for model in MODELS:
                assert real.read(model) == memory.read(model)
                for kinds in ((), ("kind 0",), ("kind 1",), ("kind 0", "kind 1"), ("another",)):
                    assert real.last(model, *kinds) == memory.last(model, *kinds)
                assert one.current(model) == other.current(model)
                real.verify(model)
                memory.verify(model)
            restored = MemoryJournal(memory.snapshot())
            assert restored.read(MODELS[0]) == memory.read(MODELS[0])

    agree()
