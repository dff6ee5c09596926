from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from canary.ports import RevisionState
from infra.inference import score
from infra.local.log_words import last_words
from infra.local.private_revision import PrivateRevision
from infra.local.revisions import RevisionRecords
from infra.local.shared_memory import region_prefix
from infra.local.triton import SECRET_HEADER
from registry.errors import PermanentEngineError, RetryableEngineError

from .toys import BROKEN, DIES, INTERFACE, REFUSED, await_state, lay_out

if TYPE_CHECKING:
    from .toys import Door

pytestmark = pytest.mark.engine

ENDED = (RevisionState.FAILED, RevisionState.READY)


def process_of(door: Door, model: str, release: int) -> psutil.Process:
    return psutil.Process(door.supervisor.states()[f"revision-{model}-r{release}"].pid)


def test_a_killed_revision_is_started_again(door: Door, model: str) -> None:
    door.serve(model, 1)
    process_of(door, model, 1).kill()
    deadline = time.monotonic() + 20
    while (status := door.fleet.status(model, 1)).restarts == 0 or (
        status.state is not RevisionState.READY
    ):
        assert status.state in {RevisionState.STARTING, RevisionState.READY}
        assert time.monotonic() < deadline
        time.sleep(0.05)
    door.fleet.stop(model, 1)
    assert not list(Path("/dev/shm").glob(f"sluice-*-{model}-r1-*"))


def test_a_revision_that_keeps_dying_fails(door: Door, model: str) -> None:
    door.serve(model, 1)
    deadline = time.monotonic() + 40
    while (status := door.fleet.status(model, 1)).state is not RevisionState.FAILED:
        assert time.monotonic() < deadline
        if pid := door.supervisor.states()[f"revision-{model}-r1"].pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                serving = psutil.Process(pid)
                if "tritonserver" in serving.name():
                    serving.kill()
        time.sleep(0.1)
    assert status.restarts == 2
    door.fleet.start(model, 1)
    assert await_state(door.fleet, model, 1, *ENDED).state is RevisionState.READY
    door.fleet.stop(model, 1)


def test_a_model_that_does_not_load_fails_with_its_reason(door: Door, model: str) -> None:
    lay_out(door.workspace.repository, model, 1, refuse="the tokenizer is gone")
    door.fleet.start(model, 1)
    status = await_state(door.fleet, model, 1, *ENDED)
    assert status.state is RevisionState.FAILED
    assert "the tokenizer is gone" in status.detail
    assert "\n" not in status.detail
    assert door.fleet.running(model) == (1,)
    door.fleet.stop(model, 1)
    assert door.fleet.running(model) == ()


def test_an_unreadable_configuration_fails_with_its_reason(door: Door, model: str) -> None:
    lay_out(door.workspace.repository, model, 1)
    (door.workspace.repository / model / "configs" / "r1.pbtxt").write_text("name: 3 nonsense {")
    door.fleet.start(model, 1)
    status = await_state(door.fleet, model, 1, *ENDED)
    assert status.state is RevisionState.FAILED
    assert "failed to read text proto" in status.detail
    door.fleet.stop(model, 1)


def test_a_slow_model_is_starting_until_it_is_ready(door: Door, model: str) -> None:
    lay_out(door.workspace.repository, model, 1, load_s=1)
    door.fleet.start(model, 1)
    assert door.fleet.status(model, 1).state is RevisionState.STARTING
    await_state(door.fleet, model, 1, RevisionState.READY)
    door.fleet.stop(model, 1)


def test_an_unpublished_release_is_refused(door: Door, model: str) -> None:
    with pytest.raises(PermanentEngineError, match="not published"):
        door.fleet.start(model, 4)
    assert door.fleet.running(model) == ()


def test_models_whose_names_end_alike_are_told_apart(door: Door) -> None:
    for name in ("alike", "alike-r2"):
        lay_out(door.workspace.repository, name, 1)
        door.fleet.start(name, 1)
    assert door.fleet.running("alike") == (1,)
    assert door.fleet.running("alike-r2") == (1,)
    for name in ("alike", "alike-r2"):
        door.fleet.stop(name, 1)


def test_repository_control_needs_the_secret(door: Door, model: str) -> None:
    door.serve(model, 1)
    endpoints = RevisionRecords(door.workspace.run).find(model, 1)
    assert endpoints is not None
    for path in (f"repository/models/{model}/unload", "systemsharedmemory/region/x/register"):
        url = f"{endpoints.http_url}/v2/{path}"
        assert httpx.post(url, json={}, trust_env=False).status_code == 403
    record = door.workspace.run / "revisions" / model / "r1.json"
    assert record.stat().st_mode & 0o077 == 0
    door.fleet.stop(model, 1)


def test_scoring_a_private_revision(tmp_path: Path) -> None:
    import numpy as np

    lay_out(tmp_path / "repository", "private", 1)
    items = [
        ("first", np.array([0, 0], dtype=np.float32)),
        ("refused", np.array([0, REFUSED], dtype=np.float32)),
        ("broken", np.array([0, BROKEN], dtype=np.float32)),
        *((f"more-{number}", np.array([5, 0, 0], dtype=np.float32)) for number in range(40)),
        # Last, because the toy answers one request after the other.
        ("late", np.array([3000, 0], dtype=np.float32)),
    ]
    with PrivateRevision(tmp_path / "repository", "private", log=tmp_path / "log") as revision:
        answers = score(
            revision.grpc_address, "private", INTERFACE, items, in_flight=8, timeout_s=1
        )
        address = revision.grpc_address
    assert [answer.id for answer in answers] == [identifier for identifier, _ in items]
    by_id = {answer.id: answer for answer in answers}
    assert by_id["first"].text == "release 1"
    assert by_id["first"].probability == -0.25
    assert by_id["first"].signals["token_count"] == 2
    assert by_id["more-3"].signals["token_count"] == 3
    assert by_id["refused"].error == "the waveform is refused"
    assert by_id["broken"].error == "the engine failed"
    assert by_id["late"].failed
    assert by_id["late"].latency_ms < 2500
    assert sum(answer.failed for answer in answers) == 3
    with pytest.raises(RetryableEngineError, match="no model server answers"):
        score(address, "private", INTERFACE, items)


def test_a_private_revision_says_why_it_does_not_load(tmp_path: Path) -> None:
    lay_out(tmp_path / "repository", "private", 1, refuse="no such vocabulary")
    with (
        pytest.raises(PermanentEngineError, match="no such vocabulary"),
        PrivateRevision(tmp_path / "repository", "private", log=tmp_path / "log"),
    ):
        pytest.fail("it loaded")
    assert processes_of(tmp_path) == []


def test_a_private_revision_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    lay_out(tmp_path / "repository", "private", 1, load_s=30)
    started = time.monotonic()
    with (
        pytest.raises(RetryableEngineError, match="not ready"),
        PrivateRevision(tmp_path / "repository", "private", log=tmp_path / "log", timeout_s=1),
    ):
        pytest.fail("it loaded")
    assert time.monotonic() - started < 10
    assert processes_of(tmp_path) == []


def test_a_private_revision_dies_with_its_dying_model(tmp_path: Path) -> None:
    import numpy as np

    lay_out(tmp_path / "repository", "private", 1)
    with PrivateRevision(tmp_path / "repository", "private", log=tmp_path / "log") as revision:
        item = ("dies", np.array([0, DIES], dtype=np.float32))
        answers = score(revision.grpc_address, "private", INTERFACE, [item], timeout_s=10)
        assert answers[0].failed
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_private_revision_ends_with_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    lay_out(tmp_path / "repository", "private", 1)
    program = (
        "import signal, time; from pathlib import Path\n"
        # A shell's background jobs ignore it, and so would this one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from infra.local.private_revision import PrivateRevision\n"
        f"root = Path({str(tmp_path)!r})\n"
        "with PrivateRevision(root / 'repository', 'private', log=root / 'log'):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        assert len(processes_of(tmp_path)) >= 2
        os.kill(owner.pid, number)
        owner.wait(timeout=20)
    deadline = time.monotonic() + 10
    while processes_of(tmp_path):
        assert time.monotonic() < deadline, processes_of(tmp_path)
        time.sleep(0.05)
    regions = region_prefix(tmp_path / "repository", "private", 1)
    while list(Path("/dev/shm").glob(f"{regions}*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_last_words_are_of_the_last_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == ""
    log.write_text(
        "--- sluice: start one\n"
        'E1121 07:17:35.259411 10695 main.cc:535] "an old error"\n'
        "--- sluice: start one\n"
        'I1121 07:17:35.259411 10695 main.cc:535] "loading"\n'
        "W1121 no CUDA here\n"
    )
    assert "loading" in last_words(log)
    with log.open("a") as file:
        file.write('E1121 07:17:35.259411 10695 model_lifecycle.cc:641] "failed to load: why"\n')
        file.write('E1121 07:17:35.3 10695 main.cc:535] "failed to stop server: Internal"\n')
        file.write("an after-word\n+-----+\n")
    assert last_words(log) == "failed to load: why"


def processes_of(folder: Path) -> list[str]:
    """Command lines that name `folder`: the engine's and its model's, not the owner's."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        ended = process.info["status"] == psutil.STATUS_ZOMBIE
        if str(folder) in line and "triton" in line and not ended and "import time" not in line:
            found.append(line)
    return found


def arguments(pid: int) -> str:
    """What `ps` shows of a process and those below it."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return " ".join(word for process in family for word in process.cmdline())


def test_the_secret_of_the_restricted_api_is_not_among_the_arguments(
    door: Door, model: str, tmp_path: Path
) -> None:
    door.serve(model, 1)
    endpoints = RevisionRecords(door.workspace.run).find(model, 1)
    assert endpoints is not None
    shown = arguments(process_of(door, model, 1).pid)
    assert "--grpc-restricted-protocol=" in shown
    assert endpoints.secret not in shown
    # And the server still asks for it.
    refused = httpx.post(f"{endpoints.http_url}/v2/repository/index")
    allowed = httpx.post(
        f"{endpoints.http_url}/v2/repository/index", headers={SECRET_HEADER: endpoints.secret}
    )
    assert (refused.status_code, allowed.status_code) == (403, 200)
    door.fleet.stop(model, 1)
    with PrivateRevision(door.workspace.repository, model, log=tmp_path / "log") as private:
        assert private._process is not None
        shown = arguments(private._process.pid)
        assert "--grpc-restricted-protocol=" in shown
        assert private._endpoints.secret not in shown
