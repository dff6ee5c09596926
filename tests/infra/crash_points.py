"""Kills a controller's process at numbered points on real engines, restarts it, and looks.

`test_crash_points.py` takes a few of the points, `benchmarks.crash_points` all.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from canary.rollout import fold
from model_repository.publishing import verify_release
from registry.journal import Journal
from registry.signature import SigningKey

from .crash_child import MODEL, OUTCOME, POINTS, alias_file, run
from .toys import client

if TYPE_CHECKING:
    from canary.states import ModelServing

    from .toys import Door

KILLED = -9
CHILD_S = 120


class Traffic:
    """Requests through the front door, one after the other, until the block ends."""

    def __init__(self, door: Door, pause_s: float = 0.01) -> None:
        self.answered: dict[int, int] = {}
        self.failures: list[str] = []
        self._door, self._pause_s = door, pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(2)]

    def _work(self) -> None:
        with client() as rest:
            while not self._stop.wait(self._pause_s):
                try:
                    one = self._door.rest(rest, MODEL)
                except Exception as error:  # noqa: BLE001 - any failure at all is the finding
                    self.failures.append(repr(error))
                    continue
                if one.status != 200 or not one.text.startswith(f"release {one.release}"):
                    self.failures.append(f"{one.status} {one.text}")
                self.answered[one.release] = self.answered.get(one.release, 0) + 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


@dataclass
class CrashStage:
    """One workspace with running engines; each round promotes the next release."""

    door: Door
    release: int = 0
    passed: list[str] = field(default_factory=list)
    """Names of the points that the last child passed."""

    def child(self, verb: str, release: int = 0, point: int = 0) -> tuple[int, str]:
        """Its exit status and its last line."""
        root = self.door.workspace.root
        for left in (root / POINTS, root / OUTCOME):
            left.unlink(missing_ok=True)
        # A process of its own, forked from one that imported everything and did nothing else.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([run.__module__])
        process = context.Process(target=run, args=(root, verb, release, point))
        process.start()
        process.join(CHILD_S)
        assert process.exitcode is not None, "it hangs"
        self.passed = (root / POINTS).read_text().splitlines()
        words = (root / OUTCOME).read_text() if (root / OUTCOME).exists() else ""
        assert "Traceback" not in words, words
        return process.exitcode, words

    def begin(self) -> None:
        """Release 1 serves."""
        assert self.child("promote", 1) == (0, "settled")
        self.release = 1

    def count(self) -> list[str]:
        """The points of a promotion that nothing disturbs, while there is traffic."""
        self.release += 1
        assert self.child("promote", self.release) == (0, "settled")
        self.check_end()
        return self.passed

    def killed_at(self, *points: int) -> str:
        """Promote the next release, killed at the first point, its successors at the others.

        Two restarts later all must be well. Returns how the rollout ended, with what was lost.
        """
        self.release += 1
        first, *others = points
        code, words = self.child("promote", self.release, first)
        at = self.passed[-1] if self.passed else ""
        assert code == KILLED, f"point {first} was not reached: {words}"
        self.check_middle()
        for point in others:
            assert self.child("resume", point=point)[0] in (KILLED, 0)
            self.check_middle()
        for _ in range(2):
            code, words = self.child("resume")
            assert code == 0, f"killed at {at}: {words}"
        assert words == "idle"
        self.check_end()
        history = self.serving().history
        return str(history[-1].outcome) if history[-1].candidate == self.release else "not begun"

    def serving(self) -> ModelServing:
        journal = Journal(self.door.workspace.journal_url)
        try:
            journal.verify(MODEL)
            return fold(journal.read(MODEL), model=MODEL)
        finally:
            journal.close()

    def check_middle(self) -> None:
        """At any moment: what is routed is published whole and runs, and the baseline serves."""
        serving, route = self.serving(), self.door.router.read(MODEL)
        assert route is not None
        assert sum(share.weight for share in route.shares) == 100
        running = self.door.fleet.running(MODEL)
        for share in route.shares:
            if share.weight:
                self.check_published(share.release)
                assert share.release in running
        baseline = serving.rollout.baseline if serving.rollout else serving.live
        assert baseline in running
        self.check_visible()

    def check_end(self) -> None:
        self.check_middle()
        serving, route = self.serving(), self.door.router.read(MODEL)
        assert serving.rollout is None
        assert route is not None
        assert {share.release: share.weight for share in route.shares} == {serving.live: 100}
        assert int(alias_file(self.door.workspace).read_text()) == serving.live
        assert self.door.fleet.running(MODEL) == serving.warm

    def check_visible(self) -> None:
        """A version folder that Triton would find is whole: its record is written after it."""
        folder = self.door.workspace.repository / MODEL
        for version in folder.iterdir():
            if version.name == "configs":
                continue
            assert version.name.isdigit(), f"{version.name} is visible"
            files = {path.name for path in version.rglob("*")}
            assert files >= {"model.py", "behaviour.json", "golden.json", "release.json"}
            json.loads((version / "release.json").read_bytes())

    def check_published(self, release: int) -> None:
        places = self.door.workspace
        key = SigningKey.load_or_create(places.keys).verifying_key
        verify_release(places.repository, places.releases, MODEL, release, key)
