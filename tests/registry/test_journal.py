from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import ConflictError, FencedError, UserError
from registry.journal import GENESIS, MAX_BODY_BYTES, Journal
from registry.lease import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE_DATABASE = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A surrogate alone has no UTF-8.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé\0", max_size=3), inner),
    max_leaves=8,
)
bodies = st.dictionaries(st.text("abcé", max_size=3), values, max_size=4)
times = st.integers(0, 2**40) | st.floats(0, 2**40)


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    journal = Journal(url)
    yield journal
    journal.close()


def test_entries_are_chained_and_read_back(journal: Journal) -> None:
    first = journal.append("m", "decided", {"n": 1}, actor="ci", at=1.5)
    second = journal.append("m", "decided", {"n": (2, 3)}, actor="ci", at=2.5)
    other = journal.append("other", "decided", {}, actor="ci", at=2.5)
    assert (first.sequence, first.previous) == (1, GENESIS)
    assert (second.sequence, second.previous) == (2, first.hash)
    assert (other.sequence, other.previous) == (1, GENESIS)
    assert second.body == {"n": [2, 3]}
    assert journal.read("m") == (first, second)
    assert journal.read("m", after=1) == (second,)
    assert journal.read("m", after=2) == journal.read("nobody") == ()
    assert journal.models() == ("m", "other")


@ONE_DATABASE
@given(body=bodies, at=times)
def test_any_json_and_any_time_survive(journal: Journal, body: dict[str, Any], at: float) -> None:
    entry = journal.append("m", "decided", body, actor="ci", at=at)
    assert journal.read("m", after=entry.sequence - 1) == (entry,)
    assert (entry.body, entry.at) == (body, at)
    assert entry.computed_hash() == entry.hash
    journal.verify("m")


class Loop(dict[str, object]):
    """A body that holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self["again"] = self


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "body",
    [
        {"n": float("nan")},
        {"n": float("-inf")},
        {"n": {1, 2}},
        {"n": b"bytes"},
        {"n": object()},
        {1: "one"},
        {"n": [{2: "two"}]},
        {"n": "\ud800"},
        Loop(),
        {"n": deep(100_000)},
        ["no", "mapping"],
        5,
        {"n": "x" * MAX_BODY_BYTES},
    ],
)
def test_a_body_that_is_not_json_is_refused(journal: Journal, body: Any) -> None:
    with pytest.raises(UserError, match=r"^m: the body of 'decided' is"):
        journal.append("m", "decided", body, actor="ci", at=1.0)
    assert journal.read("m") == ()
    assert journal.models() == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "../m"),
        ("kind", ""),
        ("kind", "Decided"),
        ("kind", "k" * 64),
        ("actor", ""),
        ("actor", "a\nb"),
        ("actor", "a" * 256),
        ("at", float("nan")),
        ("at", float("inf")),
    ],
)
def test_what_no_entry_can_have_is_refused(journal: Journal, field: str, value: Any) -> None:
    legal: dict[str, Any] = {"model": "m", "kind": "decided", "actor": "ci", "at": 1.0}
    with pytest.raises(UserError):
        journal.append(body={}, **(legal | {field: value}))
    assert journal.models() == ()


APPENDER = """
import sys
from registry.journal import Journal
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
journal = Journal(url)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    entry = journal.append("m", "decided", {"by": name, "n": number}, actor=name, at=1.0)
    print(entry.sequence, entry.hash, flush=True)
"""


def go(children: list[subprocess.Popen[str]]) -> None:
    """Let all children begin together."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def test_an_entry_may_ask_to_be_the_next(journal: Journal) -> None:
    journal.append("speech", "looked", {}, actor="ann", at=1.0, after=0)
    with pytest.raises(ConflictError, match="meanwhile"):
        journal.append("speech", "looked", {}, actor="ann", at=2.0, after=0)
    journal.append("speech", "looked", {}, actor="ann", at=2.0, after=1)
    assert [entry.sequence for entry in journal.read("speech")] == [1, 2]
    journal.verify("speech")


def test_several_processes_leave_no_gap_and_no_fork(
    url: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    writers, each = 3, 25
    children = [start(APPENDER, url, f"w{n}", each) for n in range(writers)]
    go(children)
    told = {line for child in children for line in child.communicate(timeout=60)[0].splitlines()}
    assert all(child.returncode == 0 for child in children)
    with closing(Journal(url)) as journal:
        entries = journal.read("m")
        journal.verify("m")
    assert [entry.sequence for entry in entries] == list(range(1, writers * each + 1))
    assert {f"{entry.sequence} {entry.hash}" for entry in entries} == told
    for writer in range(writers):
        own = [entry.body["n"] for entry in entries if entry.actor == f"w{writer}"]
        assert own == list(range(each))


def test_what_a_killed_process_was_told_is_there(
    url: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    children = [start(APPENDER, url, f"w{n}", 100_000) for n in range(2)]
    go(children)
    acknowledged = []
    for child in children:
        assert child.stdout is not None
        acknowledged += [child.stdout.readline().split() for _ in range(20)]
        child.kill()
        # What `readline` had read ahead is lost, and so the head of the first line.
        rest = child.communicate(timeout=30)[0].splitlines()[1:]
        acknowledged += [line.split() for line in rest]
    with closing(Journal(url)) as journal:
        journal.verify("m")
        there = {(str(entry.sequence), entry.hash) for entry in journal.read("m")}
        # The line that was being printed may be cut off.
        assert {
            tuple(line) for line in acknowledged if len(line) == 2 and len(line[1]) == 64
        } <= there
        assert journal.append("m", "decided", {}, actor="ci", at=1.0).sequence == len(there) + 1


def test_a_lease_of_another_model_fences(journal: Journal) -> None:
    lease = Leases(journal).acquire("other", "c1", now=0.0, ttl_s=10.0)
    with pytest.raises(FencedError, match="the lease is for other"):
        journal.append("m", "decided", {}, actor="ci", at=1.0, lease=lease)
    assert journal.read("m") == ()


def test_a_fold_starts_without_what_it_does_not_use() -> None:
    program = (
        "import sys, registry.journal, registry.lease, registry.catalog, registry.workspace\n"
        "slow = {'mlflow', 'cryptography', 'pydantic', 'sqlalchemy.orm', 'numpy', 'prefect'}\n"
        "print(*slow & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
