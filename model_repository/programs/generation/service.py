"""A variant at work: questions from anywhere in, answers out, each one recorded.

Wires up rules, vocabulary, engine, scheduler, worker and courier. Knows no server.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..common.quality import describe_text
from ..common.records import is_probe, record
from ..common.scripts import script_of
from ..common.unknown import unknown_rate
from .courier import Answer, Channel, Courier
from .engines import load_engine
from .jobs import Job
from .questions import Refused, ask, read_text
from .rules import Rules
from .scheduler import Bounds, Scheduler
from .texts import Texts
from .vocabulary import load_vocabulary
from .warming import warm_up
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Log = Callable[[Mapping[str, Any]], None]


class Service:
    """Loads the variant in `folder`, and answers from its making to `close`.

    `log` takes prediction records, with the texts where it `keeps_text`, `report` faults of the
    engine; `each_turn` is called by one thread, several times a second, with what was done so far.
    """

    def __init__(  # noqa: PLR0913 - its parts' own, named by the one caller
        self,
        folder: Path,
        *,
        release: int,
        threads: int,
        device: str,
        bounds: Bounds,
        log: Log | None,
        report: Callable[[Exception], None],
        each_turn: Callable[[Scheduler[Any]], None],
        keeps_text: bool = False,
    ) -> None:
        self._rules, self._vocabulary = Rules.load(folder), load_vocabulary(folder)
        engine = load_engine(folder, threads, device)
        warm_up(engine, self._rules, self._vocabulary, bounds.max_live)
        self.execution_devices = engine.execution_devices
        self._log, self._report, self._keeps_text = log, report, keeps_text
        self._release = release
        texts = Texts(self._vocabulary.decode, self._rules.stop)
        scheduler: Scheduler[Any] = Scheduler(
            engine, self._rules, bounds, is_stopped=texts.is_stopped, report=report
        )
        self._courier = Courier(texts, each_turn=lambda: each_turn(scheduler), report=report)
        self._worker = Worker(scheduler, self._courier.wake)

    def take(self, text: bytes, parameters: Mapping[str, Any], channel: Channel) -> None:
        """Answer a text by `channel`, whose calls may come from this thread or from another."""
        call = _Recorded(channel, parameters, self._log, self._release)
        try:
            self._take(text, parameters, call)
        except Exception as error:  # noqa: BLE001 - no question may stay without a word
            self._report(error)
            call.fail("INTERNAL", f"the program failed: {type(error).__name__}")

    def close(self, timeout_s: float) -> None:
        """Take no more questions, answer what is under way, stop."""
        self._worker.close(timeout_s)
        self._courier.close(timeout_s)

    def _take(self, text: bytes, parameters: Mapping[str, Any], call: _Recorded) -> None:
        sound = read_text(text)
        if isinstance(sound, Refused):
            call.fail("INVALID_ARG", sound.reason)
            return
        call.asked = {"input_chars": len(sound), "script": script_of(sound)}
        if self._keeps_text:
            call.asked["input_text"] = sound
        question = ask(sound, parameters, self._rules, self._vocabulary.encode)
        if isinstance(question, Refused):
            call.fail("INVALID_ARG", question.reason)
            return
        rate = unknown_rate(question.prompt, self._vocabulary.unknown)
        call.asked |= {"unknown_token_rate": rate}
        call.job = Job(question)
        if refusal := self._worker.submit(call.job):
            call.fail("UNAVAILABLE", refusal)
        else:
            self._courier.add(call.job, call)


class _Recorded(Channel):
    """A channel whose last word goes into the prediction log."""

    job: Job | None = None

    def __init__(
        self, channel: Channel, parameters: Mapping[str, Any], log: Log | None, release: int
    ) -> None:
        self.asked: dict[str, Any] = {}
        self._channel, self._parameters, self._release = channel, parameters, release
        self._log = None if is_probe(parameters) else log
        self._started = time.perf_counter()
        self.streamed = channel.streamed

    def send(self, answer: Answer) -> None:
        """See Channel."""
        if answer.finished and self.job is not None:
            about = describe_text(
                answer.text,
                self.job.tokens(),
                answer.average_log_probability,
                entropy=self.job.progress.entropy,
                fallback=self.job.is_cut_off,
            )
            if "input_text" in self.asked:
                about["text"] = answer.text
            self._record(about)
        self._channel.send(answer)

    def fail(self, code: str, reason: str) -> None:
        """See Channel."""
        self._record(reason)
        self._channel.fail(code, reason)

    def is_cancelled(self) -> bool:
        """See Channel."""
        return self._channel.is_cancelled()

    def _record(self, answer: Mapping[str, Any] | str) -> None:
        if self._log is None:
            return
        latency_ms = (time.perf_counter() - self._started) * 1000
        self._log(
            record(
                self.asked,
                answer,
                self._parameters,
                release=self._release,
                at=time.time(),
                latency_ms=latency_ms,
            )
        )
