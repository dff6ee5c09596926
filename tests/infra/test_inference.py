"""Asking a server that answers badly, slowly, or not at all any more."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from infra.inference import score
from infra.local.private_revision import PrivateRevision
from registry.errors import RetryableEngineError

from .toys import INTERFACE, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from validation.answers import Answer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

Item = tuple[str, "NDArray[np.float32]"]


def item(name: str, *instructions: float) -> Item:
    return name, np.array(instructions, np.float32)


@pytest.fixture(scope="module")
def revision(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRevision]:
    """A toy that has no number for a question of three values."""
    root = tmp_path_factory.mktemp("asked")
    program = lay_out(root, "toy", 1) / "model.py"
    source = program.read_text()
    broken = source.replace("[[-0.25]]", "[[np.nan if len(values) == 3 else -0.25]]")
    assert broken != source
    program.write_text(broken)
    with PrivateRevision(root, "toy", log=root / "log") as started:
        yield started


def test_answers_come_in_the_order_of_the_questions_and_are_told_as_they_come(
    revision: PrivateRevision,
) -> None:
    told: dict[str, Answer] = {}
    items = [item(f"q{number}", 5.0 * (number % 3)) for number in range(20)]

    def tell(answer: Answer, settled: bool) -> None:
        assert settled
        told[answer.id] = answer

    answers = score(revision.grpc_address, "toy", INTERFACE, items, in_flight=7, on_answer=tell)
    assert [answer.id for answer in answers] == [name for name, _ in items]
    assert not any(answer.failed for answer in answers)
    assert [told[answer.id] for answer in answers] == answers


def test_at_most_so_many_are_open_at_a_time(revision: PrivateRevision) -> None:
    sent: list[int] = []
    done: list[str] = []

    def items() -> Iterator[Item]:
        for number in range(12):
            sent.append(number - len(done))
            yield item(f"q{number}", 1.0)

    def tell(answer: Answer, settled: bool) -> None:
        assert settled
        done.append(answer.id)

    score(revision.grpc_address, "toy", INTERFACE, items(), in_flight=3, on_answer=tell)
    # The one that is read next is decoded while three are open.
    assert max(sent) <= 3


def test_an_answer_whose_number_is_none_has_failed(revision: PrivateRevision) -> None:
    good, bad = score(
        revision.grpc_address, "toy", INTERFACE, [item("good", 0.0), item("bad", 0.0, 0.0, 0.0)]
    )
    assert not good.failed
    assert bad.error == "the answer's 'average_log_probability' is not finite"
    assert bad.signals == {}


def test_refusals_failures_and_time_outs_are_answers(revision: PrivateRevision) -> None:
    items = [item("refused", 0.0, 1.0), item("failed", 0.0, 2.0), item("slow", 3000.0)]
    told: dict[str, bool] = {}

    def tell(answer: Answer, settled: bool) -> None:
        told[answer.id] = settled

    refused, failed, slow = score(
        revision.grpc_address,
        "toy",
        INTERFACE,
        items,
        in_flight=1,
        timeout_s=1.0,
        on_answer=tell,
    )
    assert "the waveform is refused" in refused.error
    assert "the engine failed" in failed.error
    assert slow.error == "no answer within 1 s"
    # Only a refusal would be the same another time.
    assert told == {"refused": True, "failed": False, "slow": False}


def test_nothing_asked_is_nothing_answered(revision: PrivateRevision) -> None:
    assert score(revision.grpc_address, "toy", INTERFACE, []) == []


def test_the_peak_of_its_memory_is_that_of_all_its_processes(revision: PrivateRevision) -> None:
    # A server and the program's interpreter with NumPy.
    assert 40_000_000 < revision.peak_memory_bytes < 2_000_000_000


def test_a_server_that_ends_meanwhile_is_no_answer(tmp_path: Path) -> None:
    lay_out(tmp_path, "ends", 1)
    told: list[Answer] = []

    def tell(answer: Answer, settled: bool) -> None:
        assert settled
        told.append(answer)

    with PrivateRevision(tmp_path, "ends", log=tmp_path / "log") as started:

        def items() -> Iterator[Item]:
            for number in range(40):
                if number == 10:
                    for process in psutil.process_iter(["cmdline"]):
                        words = process.info["cmdline"] or []
                        if any(str(tmp_path) in word for word in words):
                            os.kill(process.pid, signal.SIGKILL)
                yield item(f"q{number}", 1.0)

        with pytest.raises(RetryableEngineError, match="the model server is gone"):
            score(started.grpc_address, "ends", INTERFACE, items(), in_flight=2, on_answer=tell)
    assert 8 <= len(told) < 40
    assert not any(answer.failed for answer in told)
