"""What answers cost: by hand, in a gate's report, in a metric and in the command's table."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.cost_command import _prices
from cli.main import app
from pipelines.cost import price_here, priced, what_if
from pipelines.metrics import PlatformCollector
from registry.errors import UserError
from tests.pipelines.drift_world import MODEL
from tests.pipelines.test_drift_attribution import StagedPlatform
from validation.cost import Price, cost_of, cost_words, machines_for
from validation.evidence import GateReport
from validation.performance import Performance
from validation.report import markdown_summary
from validation.report_page import render
from validation.verdict import Verdict

if TYPE_CHECKING:
    from registry.workspace import Workspace

ROUNDS = (38.0, 39.0, 40.0, 40.0, 41.0, 42.0, 43.0)
MEASURED = Performance(
    latencies_ms=(25.0,) * 10,
    audio_s=(3.0,) * 10,
    throughput_rps=ROUNDS,
    load_s=1.0,
    peak_memory_bytes=1,
    size_bytes=1,
    hardware={"processor": "a processor", "cores": 2},
)
PRICES = '[prices]\ncurrency = "EUR"\nhourly = {{ cpu = 0.144{more} }}\n{on}'


def test_a_request_costs_its_share_of_an_hour() -> None:
    cost = cost_of(MEASURED, Price("cpu", 0.144, "EUR"))
    assert cost is not None
    assert cost.request.value == pytest.approx(0.144 / 3600 / 40)
    assert cost.audio_minute is not None
    assert cost.audio_minute.value == pytest.approx(20 * cost.request.value)
    # The interval is that of the throughput, the other way round.
    assert cost.request.high == pytest.approx(0.144 / 3600 / 38)
    assert cost.request.low == pytest.approx(0.144 / 3600 / 43)
    assert cost_words(cost) == (
        "1,000 requests: 0.001 EUR (0.00093 to 0.00105)",
        "an audio minute: 0.00002 EUR (0.0000186 to 0.0000211)",
        "on cpu at 0.144 EUR an hour, batches full, no hour idle",
    )


def test_what_was_not_measured_costs_nothing_that_is_told() -> None:
    price = Price("cpu", 0.1, "EUR")
    assert cost_of(dataclasses.replace(MEASURED, throughput_rps=()), price) is None
    silent = cost_of(dataclasses.replace(MEASURED, audio_s=(0.0,) * 10), price)
    assert silent is not None
    assert silent.audio_minute is None
    few = cost_of(dataclasses.replace(MEASURED, throughput_rps=(40.0,)), price)
    assert few is not None
    assert "(" not in cost_words(few)[0]


def test_machines_are_whole() -> None:
    assert [machines_for(rps, 40) for rps in (1, 40, 40.1, 400)] == [1, 1, 2, 10]


def write_prices(workspace: Workspace, more: str = "", on: str = "") -> None:
    (workspace.root / "sluice.toml").write_text(PRICES.format(more=more, on=on))
    workspace.__dict__.pop("settings", None)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> StagedPlatform:
    platform = StagedPlatform(tmp_path_factory.mktemp("staged"))
    names = ("variant_digest", "artifact", "manifest_digest", "report_digest")
    body: dict[str, Any] = dict.fromkeys(names, "a" * 64)
    platform.append(MODEL, "release-published", body | {"variant": "onnx-int8", "release": 2})
    return platform


@pytest.fixture
def platform(staged: StagedPlatform) -> StagedPlatform:
    """A platform without prices, whose live release's report holds the measurement."""
    (staged.workspace.root / "sluice.toml").write_text("")
    staged.workspace.__dict__.pop("settings", None)
    folder = staged.workspace.reports / ("a" * 64)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"performance": MEASURED.to_dict()}
    (folder / "report.json").write_text(json.dumps(document))
    return staged


def report_of(platform: StagedPlatform) -> GateReport:
    origin = {
        "dataset_sha256": "d" * 64,
        "normaliser": "basic",
        "seed": 1,
        "confidence": 0.95,
        "digests": {},
        "policy": {},
    }
    report = GateReport(Verdict.PASS, (), {}, (), origin, performance=MEASURED.to_dict())
    return priced(report, platform.workspace)


def test_a_report_says_what_the_variant_costs_and_nothing_without_a_price(
    platform: StagedPlatform,
) -> None:
    without = report_of(platform)
    assert "price" not in without.provenance
    assert "Cost" not in markdown_summary(without)
    write_prices(platform.workspace)
    report = report_of(platform)
    assert "1,000 requests: 0.001 EUR" in markdown_summary(report)
    page = render(report, model=MODEL, variant="onnx-int8")
    assert "Cost of an audio minute" in page
    assert "0.144 EUR, batches full, no hour idle" in page
    # What the report was made with is kept, whatever the price is later.
    write_prices(platform.workspace, ", gpu = 2.88", 'measured_on = "gpu"\n')
    again = GateReport.from_dict(json.loads(report.to_json()))
    assert again.provenance["price"]["hourly"] == 0.144
    assert price_here(platform.workspace) == Price("gpu", 2.88, "EUR")


def test_the_metric_is_of_releases_that_get_traffic(platform: StagedPlatform) -> None:
    assert costs(platform) == {}
    write_prices(platform.workspace)
    found = costs(platform)
    assert found["sluice_cost_per_request", "2"] == pytest.approx(0.144 / 3600 / 40)
    assert found["sluice_cost_per_audio_minute", "2"] == pytest.approx(20 * 0.144 / 3600 / 40)
    assert found["sluice_cost_per_hour", ""] == 0.144
    assert ("sluice_cost_per_request", "1") not in found


def costs(platform: StagedPlatform) -> dict[tuple[str, str], float]:
    return {
        (one.name, one.labels.get("release", "")): one.value
        for family in PlatformCollector(platform).collect()
        for one in family.samples
        if one.name.startswith("sluice_cost_")
    }


def test_elsewhere_it_is_told_from_when_on_it_is_cheaper(platform: StagedPlatform) -> None:
    write_prices(platform.workspace)
    found = what_if(platform, MODEL, prices={"gpu": 2.88}, target_rps=400)
    (row,) = found["releases"]
    assert row["elsewhere"] == [
        {"name": "gpu", "hourly": 2.88, "cheaper_from_rps": pytest.approx(800), "times": 20}
    ]
    assert row["machines"] == {"value": 10, "at_worst": 11}
    assert row["month"] == pytest.approx(10 * 0.144 * 730)


def test_without_a_price_or_a_measurement_it_says_what_to_do(platform: StagedPlatform) -> None:
    with pytest.raises(UserError, match=r"no price is known.*--price"):
        what_if(platform, MODEL, prices={})
    (platform.workspace.reports / ("a" * 64) / "report.json").write_text("{}")
    with pytest.raises(UserError, match="no throughput was measured of release 2"):
        what_if(platform, MODEL, prices={"cpu": 1.0})


def ask(platform: StagedPlatform, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr("cli.cost_command.open_platform", lambda: platform)
    monkeypatch.setenv("SLUICE_WORKSPACE", str(platform.workspace.root))
    return CliRunner().invoke(app, ["cost", MODEL, *words])


def test_the_table_fits_and_says_what_it_assumes(
    platform: StagedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_prices(platform.workspace)
    ran = ask(platform, monkeypatch, "--price", "gpu-spot=0.9", "--target-rps", "400")
    assert ran.exit_code == 0, ran.output
    assert max(map(len, ran.stdout.splitlines())) <= 80
    for words in ("10 to 11", "from 250", "no hour idle", "Measured on cpu: a processor, 2 cores"):
        assert words in ran.stdout
    as_json = ask(platform, monkeypatch, "--output", "json")
    assert json.loads(as_json.stdout)["releases"][0]["audio_minute"]["value"] == pytest.approx(2e-5)


@pytest.mark.parametrize("price", ["gpu", "gpu=", "gpu=-1", "gpu=nan", "=1", "GPU=1", "gpu=1e9"])
def test_a_wrong_price_is_refused(price: str) -> None:
    with pytest.raises(UserError, match="is not a price"):
        _prices([price])


def test_prices_in_the_file_are_whole(platform: StagedPlatform) -> None:
    write_prices(platform.workspace, ", gpu = 2.88")
    with pytest.raises(UserError, match="measured_on names the one that gates measure on"):
        price_here(platform.workspace)
    write_prices(platform.workspace, on='measured_on = "tpu"\n')
    with pytest.raises(UserError, match="has no price in hourly"):
        price_here(platform.workspace)
