"""The acts up to the one that the canary ends, and the last, as commands."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from client import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from client import Client
    from commands import Sluice

MODEL = "whisper-grid"


@dataclass
class Story:
    """What the acts use, and what they leave for the summary."""

    sluice: Sluice
    client: Client
    grid: Path
    address: str = ""
    """Of the front door, `host:port`."""
    acts: list[tuple[float, str]] = field(default_factory=list)
    """(epoch seconds, title) of each act."""
    gates: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[int, dict[str, str]] = field(default_factory=dict)
    """Release -> utterance -> the transcript it gave when it was scored offline."""
    promotions: dict[int, dict[str, Any]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    """What each drift watch found, with when it began and ended (epoch seconds)."""
    unanswerable: list[tuple[float, float]] = field(default_factory=list)
    """When live traffic met a release that cannot answer all of it."""
    history: list[dict[str, Any]] = field(default_factory=list)

    def act(self, title: str) -> None:
        """Begin an act."""
        self.acts.append((time.time(), title))
        print(f"\n== Act {len(self.acts)}: {title}", flush=True)

    def send(self, traffic: Traffic) -> None:
        """Send this traffic from now on."""
        self.client.start(self.address, MODEL, self.grid / "data" / "live", traffic)


def go_live(story: Story) -> None:
    """Act 1: the first release."""
    story.act("release 1, OpenVINO FP16, goes live")
    story.sluice("register", MODEL, str(story.grid / "models" / "whisper-grid"))
    story.sluice("convert", MODEL)
    release_variant(story, "openvino-fp16")
    story.address = story.sluice("status")["addresses"]["front door"]
    story.send(Traffic())


def improve(story: Story) -> None:
    """Act 2: a smaller variant, no worse, promoted under load."""
    story.act("release 2, OpenVINO INT8, is promoted under load")
    release_variant(story, "openvino-int8")


def refuse(story: Story) -> None:
    """Act 3: the gate refuses a model that was trained too little."""
    story.act("an undertrained checkpoint is refused at the gate")
    story.sluice("register", MODEL, str(story.grid / "models" / "whisper-grid-undertrained"))
    story.sluice("convert", MODEL, "--variant", "onnx-fp32", "--variant", "openvino-int8")
    gate(story, "openvino-int8", expect=1)


def survive(story: Story) -> None:
    """Act 4: good on every utterance of the evaluation set, and failing on live traffic."""
    story.act("a release that passes the gate and fails live is rolled back by the canary")
    story.sluice("register", MODEL, str(story.grid / "models" / "whisper-grid-short-window"))
    story.sluice("convert", MODEL, "--variant", "onnx-fp32", "--variant", "openvino-int8")
    release_variant(story, "openvino-int8", expect=1)


def go_back(story: Story) -> None:
    """Act 7: a person goes back."""
    story.act("a person rolls back by hand")
    story.sluice("rollback", MODEL, "--to", "1", "--reason", "act 7: because we can")
    time.sleep(5)


def gate(story: Story, variant: str, *, expect: int = 0) -> None:
    """Gate a variant and keep the report."""
    story.gates.append(story.sluice("gate", MODEL, "--variant", variant, expect=expect))


def release_variant(story: Story, variant: str, *, expect: int = 0) -> None:
    """Gate, publish and promote; note what the release answers to each live utterance."""
    gate(story, variant)
    live = str(story.grid / "data" / "live")
    scored = story.sluice("evaluate", MODEL, "--variant", variant, "--dataset", live)
    number = story.sluice("publish", MODEL, "--variant", variant)["release"]
    story.expected[number] = {
        answer["id"]: answer["text"] for answer in scored["answers"] if not answer["error"]
    }
    promoted = story.sluice("promote", MODEL, "--release", str(number), expect=expect)
    story.promotions[number] = promoted
