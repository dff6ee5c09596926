"""What Prometheus is told, of a platform with a real journal and engines in memory."""

from __future__ import annotations

import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipelines.metrics import PlatformCollector
from registry.errors import RetryableEngineError

from .drift_world import MODEL
from .test_drift_attribution import StagedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from registry.journal import Entry

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def platform(tmp_path: Path) -> StagedPlatform:
    return StagedPlatform(tmp_path)


def scrape(collector: PlatformCollector) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in collector.collect()
        for one in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted({"model": MODEL, **labels}.items()))]


def test_a_scrape_says_what_the_journal_and_the_fleet_say(platform: StagedPlatform) -> None:
    collector = PlatformCollector(platform, clock=platform.stage.world.clock)
    seen = scrape(collector)
    assert value(seen, "sluice_release_live") == 2
    assert value(seen, "sluice_route_weight_percent", release="2") == 100
    assert value(seen, "sluice_rollouts_total", outcome="settled") == 2
    assert value(seen, "sluice_revision_ready", release="1") == 1
    assert value(seen, "sluice_dora_deployments_per_day") == pytest.approx(2 / 30)
    assert value(seen, "sluice_dora_change_failure_ratio") == 0
    assert value(seen, "sluice_journal_entries_total") == len(platform.journal.read(MODEL))
    assert seen["sluice_up", (("part", "journal"),)] == 1

    platform.behave(empty_share={1: 0.04, 2: 0.12})
    platform.open_case()
    assert value(scrape(collector), "sluice_drift_case_open", severity="act") == 1
    platform.attribute()
    seen = scrape(collector)
    assert value(seen, "sluice_release_live") == 1
    assert value(seen, "sluice_drift_rollbacks_total") == 1
    assert value(seen, "sluice_drift_worse_log_e") > 4
    assert value(seen, "sluice_dora_change_failure_ratio") == 0.5
    assert value(seen, "sluice_dora_time_to_restore_seconds") >= 0


def test_only_what_is_new_is_read_again(
    platform: StagedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = PlatformCollector(platform)
    scrape(collector)
    read_after, asked = platform.journal.read_after, []

    def counted(marks: Mapping[str, int]) -> Iterator[tuple[str, list[Entry]]]:
        for model, entries in read_after(marks):
            asked.append(len(entries))
            yield model, entries

    monkeypatch.setattr(platform.journal, "read_after", counted)
    platform.append(MODEL, "gate-decided", gated("fail"))
    assert value(scrape(collector), "sluice_gates_total", verdict="fail") == 1
    assert asked == [1]


def test_a_long_history_is_read_page_by_page(
    platform: StagedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.metrics._FEW", 2)
    monkeypatch.setattr("pipelines.metrics._PAGE", 3)
    collector, at_once = PlatformCollector(platform), PlatformCollector(platform)
    collector.catch_up()
    seen, length = scrape(collector), len(platform.journal.read(MODEL))
    assert value(seen, "sluice_journal_entries_total") == length > 6
    monkeypatch.undo()
    wanted = scrape(at_once)
    moving = {"sluice_scrape_seconds", "sluice_journal_age_seconds"}
    assert {key for key in seen if seen[key] != wanted[key]} <= {
        key for key in seen if key[0] in moving or key[0].startswith("sluice_dora")
    }


def test_scrapes_that_come_at_once_count_everything_once(platform: StagedPlatform) -> None:
    for _ in range(50):
        platform.append(MODEL, "gate-decided", gated("fail"))
    collector, together = PlatformCollector(platform), threading.Barrier(8)

    def one(_: int) -> Samples:
        together.wait()
        return scrape(collector)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    assert {value(seen, "sluice_gates_total", verdict="fail") for seen in found} == {50}
    assert {seen["sluice_up", (("part", "journal"),)] for seen in found} == {1}


def gated(verdict: str) -> dict[str, object]:
    return {
        "variant_digest": "a" * 64,
        "artifact": "b" * 64,
        "variant": "onnx-int8",
        "verdict": verdict,
        "report_digest": "c" * 64,
        "metrics": {"wer": 0.25, "wer.noise.noisy": 0.5},
    }


def test_labels_are_bounded_and_names_are_prometheus_own(platform: StagedPlatform) -> None:
    platform.append(MODEL, "gate-decided", gated("pass"))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector(platform))
    text = generate_latest(registry)
    names = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
    assert len(names) >= 20
    assert b'sluice_gate_metric{metric="wer",model="' in text
    assert b"noisy" not in text  # a slice is the report's
    for sample in scrape(PlatformCollector(platform)):
        assert {label for label, _ in sample[1]} <= LABELS
    if promtool := shutil.which("promtool"):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


LABELS = {
    *("model", "release", "metric", "outcome", "verdict", "variant"),
    *("decision", "phase", "severity", "part", "device", "currency"),
}


def test_an_engine_that_is_away_is_told_and_hides_nothing_else(
    platform: StagedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> tuple[int, ...]:
        raise RetryableEngineError("nobody answers")

    monkeypatch.setattr(platform.fleet, "running", away)
    seen = scrape(PlatformCollector(platform))
    assert seen["sluice_up", (("part", "fleet"),)] == 0
    assert value(seen, "sluice_release_live") == 2
    monkeypatch.setattr(platform.journal, "heads", lambda: away(""))
    seen = scrape(PlatformCollector(platform))
    assert seen["sluice_up", (("part", "journal"),)] == 0
