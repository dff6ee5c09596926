from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.orphans import find_orphans
from infra.local.programs import configuration, describe
from infra.local.supervision import Phase, Program, Supervisor
from infra.local.unix_sockets import socket_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

STUBBORN = ("/bin/sh", "-c", "trap '' TERM INT; sleep 60 & while :; do sleep 0.2; done")
SLEEPER = ("/bin/sleep", "60")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run", tmp_path / "logs")
    yield made
    made.shutdown()
    assert find_orphans(made.run) == ()
    assert made.states() == {}


def wait_until(condition: Callable[[], object], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_runs_with_its_environment_and_no_other(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    supervisor.ensure()
    value = "a b;c #d %(here)s %d \"quoted\" 'too' ,="
    supervisor.start(Program("shows", ("/usr/bin/env",), {"SHOWN": value}, autorestart=False))
    log = supervisor.log("shows")
    wait_until(lambda: log.exists() and "SHOWN" in log.read_text())
    assert f"SHOWN={value}\n" in log.read_text()
    assert "SECRET_OF_THE_CALLER" not in log.read_text()


def test_starting_twice_starts_once_and_a_changed_program_is_replaced(
    supervisor: Supervisor,
) -> None:
    supervisor.ensure()
    supervisor.start(Program("one", SLEEPER))
    first = supervisor.states()["one"].pid
    supervisor.start(Program("one", SLEEPER))
    assert supervisor.states()["one"].pid == first
    supervisor.start(Program("one", ("/bin/sleep", "61")))
    assert supervisor.states()["one"].pid not in {0, first}


def test_a_program_that_keeps_ending_is_started_a_bounded_number_of_times(
    supervisor: Supervisor,
) -> None:
    supervisor.ensure()
    supervisor.start(Program("ends", ("/bin/sh", "-c", "exit 3"), restarts=1, settle_s=1))
    wait_until(lambda: supervisor.states()["ends"].phase is Phase.FATAL)
    state = supervisor.states()["ends"]
    assert state.restarts == 1
    assert state.down_for_good
    assert not state.up


def test_a_killed_program_is_started_again(supervisor: Supervisor) -> None:
    supervisor.ensure()
    supervisor.start(Program("lives", SLEEPER, settle_s=0))
    first = supervisor.states()["lives"].pid
    wait_until(lambda: psutil.Process(first).name() == "sleep")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.states()["lives"].pid not in {0, first})
    wait_until(lambda: supervisor.states()["lives"].restarts == 1)


def test_removing_one_leaves_the_others(supervisor: Supervisor) -> None:
    supervisor.ensure()
    for name in ("one", "two"):
        supervisor.start(Program(name, SLEEPER))
    second = supervisor.states()["two"].pid
    supervisor.remove("one")
    supervisor.remove("one")
    assert set(supervisor.states()) == {"two"}
    assert supervisor.states()["two"].pid == second


def test_shutdown_ends_what_ignores_being_asked(supervisor: Supervisor) -> None:
    supervisor.ensure()
    supervisor.start(Program("stubborn", STUBBORN, stop_wait_s=1))
    wait_until(lambda: len(find_orphans(supervisor.run)) >= 3)
    supervisor.shutdown()
    assert find_orphans(supervisor.run) == ()
    supervisor.shutdown()


def test_a_killed_supervisor_leaves_nothing_and_its_programs_come_back(
    supervisor: Supervisor,
) -> None:
    supervisor.ensure()
    supervisor.start(Program("lives", SLEEPER))
    first = supervisor.states()["lives"].pid
    os.kill(int((supervisor.run / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not supervisor.alive())
    assert {process.pid for process in find_orphans(supervisor.run)} <= {first}
    supervisor.ensure()
    wait_until(lambda: supervisor.states()["lives"].up)
    assert first not in [process.pid for process in find_orphans(supervisor.run)]


def test_shutdown_after_the_supervisor_was_killed(supervisor: Supervisor) -> None:
    supervisor.ensure()
    supervisor.start(Program("lives", STUBBORN))
    os.kill(int((supervisor.run / "supervisord.pid").read_text()), signal.SIGKILL)
    supervisor.shutdown()
    assert find_orphans(supervisor.run) == ()


def test_long_and_odd_paths_work(tmp_path: Path) -> None:
    odd = tmp_path / ("o dd; #1 %d [x] 'q' " + "x" * 90)
    made = Supervisor(odd / "run", odd / "logs")
    try:
        made.ensure()
        made.start(Program("lives", SLEEPER))
        assert made.states()["lives"].up
        assert not (odd / "run" / "supervisor.sock").exists()
        short = socket_path(made.run, "supervisor.sock")
        assert short.exists()
    finally:
        made.shutdown()
    assert not short.parent.exists()


def test_a_name_that_is_not_one_is_refused(supervisor: Supervisor) -> None:
    with pytest.raises(ValueError, match="not a program name"):
        supervisor.start(Program("Not ok]", SLEEPER))


@settings(max_examples=30, deadline=None)
@given(command=st.lists(st.text(min_size=1).filter(lambda text: "\0" not in text), min_size=1))
def test_no_command_reaches_the_configuration(
    command: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("programs")
    (folder / "one.json").write_bytes(describe(Program("one", tuple(command)), folder))
    empty = configuration([])
    assert configuration([folder / "one.json"]).startswith(empty)
    assert json.loads((folder / "one.json").read_bytes())["command"] == command
    section = configuration([folder / "one.json"]).removeprefix(empty).decode().splitlines()
    assert "command = %(ENV_SLUICE_LAUNCH)s one" in section
