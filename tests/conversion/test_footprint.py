from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from infra.environments.locks import CONVERTER
from pipelines.conversion import footprint
from pipelines.conversion.footprint import Footprint, GraphFootprint, Timing, measure, save_feeds
from pipelines.conversion.footprint_child import read_feeds, with_batch
from registry.errors import PermanentEngineError, RetryableEngineError
from registry.quiet import QUIET_ENVIRONMENT

CHECKOUT = Path(__file__).resolve().parents[2]
MAKE = """
import sys, toy_graphs
from pathlib import Path
from pipelines.conversion import formats
from pipelines.conversion.footprint import save_feeds
from pipelines.conversion.kind import Recipe
folder = Path(sys.argv[1])
made = [toy_graphs.conv(folder), toy_graphs.matmul(folder)]
half = Recipe("openvino-fp16", "openvino", "fp16")
(folder / "half").mkdir()
formats.write(half, "conv", made[0].path, folder / "half", [])
save_feeds(folder / "feeds.npz", {toy.path.stem: toy.feeds(3, 1) for toy in made})
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    done = subprocess.run(
        [str(CONVERTER.python), "-c", MAKE, str(folder)],
        env=QUIET_ENVIRONMENT | {"PYTHONPATH": f"{Path(__file__).parent}:{CHECKOUT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.engine
def test_every_figure_is_measured(toys: Path) -> None:
    found = measure(
        CONVERTER.python, toys, ["conv", "matmul"], toys / "feeds.npz", batch=4, seconds=0.2
    )
    assert found.size_bytes == sum((toys / f"{n}.onnx").stat().st_size for n in ("conv", "matmul"))
    assert [graph.name for graph in found.graphs] == ["conv", "matmul"]
    for graph in found.graphs:
        assert 0 < graph.load_s < 20
        assert [timing.batch for timing in graph.timings] == [1, 4]
        for timing in graph.timings:
            assert timing.runs >= 5
            assert 0 < timing.p50_ms <= timing.p95_ms
            assert timing.per_second > 0
    assert 0 < found.peak_memory_bytes[1] <= found.peak_memory_bytes[4] < 500e6
    assert found.p50_ms(1) == sum(graph.timings[0].p50_ms for graph in found.graphs)
    assert Footprint.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.engine
def test_openvino_variant_counts_its_weights_file(toys: Path) -> None:
    found = measure(
        CONVERTER.python, toys / "half", ["conv"], toys / "feeds.npz", batch=1, seconds=0.1
    )
    sizes = {path.name: path.stat().st_size for path in (toys / "half").iterdir()}
    assert found.size_bytes == sizes["conv.xml"] + sizes["conv.bin"]
    assert set(found.peak_memory_bytes) == {1}


@pytest.mark.engine
def test_graph_that_does_not_open_says_why(toys: Path, tmp_path: Path) -> None:
    (tmp_path / "conv.onnx").write_bytes(b"no graph")
    with pytest.raises(PermanentEngineError, match=r"footprint failed with code 1: .*INVALID"):
        measure(CONVERTER.python, tmp_path, ["conv"], toys / "feeds.npz")


def test_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentEngineError, match="holds no graph 'encoder'"):
        measure(CONVERTER.python, tmp_path, ["encoder"], tmp_path / "feeds.npz")


@pytest.mark.engine
def test_time_is_bounded(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "START_S", 0.01)
    with pytest.raises(RetryableEngineError, match=r"footprint took longer than 0\.05 s"):
        measure(CONVERTER.python, toys, ["conv"], toys / "feeds.npz", seconds=0.01)


def test_feeds_keep_their_order_and_types(tmp_path: Path) -> None:
    feeds = [
        {"x": np.full((1, 2), number, np.float32), "file": np.array(number)} for number in range(12)
    ]
    save_feeds(tmp_path / "feeds.npz", {"encoder": feeds, "decoder": feeds[:1]})
    found = read_feeds(tmp_path / "feeds.npz")
    assert [len(found[name]) for name in ("encoder", "decoder")] == [12, 1]
    for mine, theirs in zip(feeds, found["encoder"], strict=True):
        assert mine.keys() == theirs.keys()
        for name, values in mine.items():
            assert values.dtype == theirs[name].dtype
            np.testing.assert_array_equal(values, theirs[name])


@pytest.mark.parametrize(("rows", "batch"), [(1, 4), (3, 2), (2, 5)])
def test_batches_repeat_or_cut_rows(rows: int, batch: int) -> None:
    feed = {"x": np.arange(rows * 2).reshape(rows, 2), "scalar": np.array(7)}
    found = with_batch(feed, batch)
    assert found["x"].shape == (batch, 2)
    np.testing.assert_array_equal(found["x"][-1], feed["x"][(batch - 1) % rows])
    assert found["scalar"] == 7


def test_sums_go_over_graphs() -> None:
    graphs = tuple(
        GraphFootprint(name, 0.5, (Timing(1, 9, 2.0, 3.0, 500.0), Timing(8, 9, 8.0, 9.0, 1000.0)))
        for name in ("encoder", "decoder")
    )
    flat = Footprint(1000, 2, graphs, {1: 10, 8: 40}).flat()
    assert flat == {
        "size_bytes": 1000,
        "load_s": 1.0,
        "p50_ms_batch_1": 4.0,
        "p95_ms_batch_1": 6.0,
        "per_second_batch_1": 250.0,
        "peak_memory_bytes_batch_1": 10,
        "p50_ms_batch_8": 16.0,
        "p95_ms_batch_8": 18.0,
        "per_second_batch_8": 500.0,
        "peak_memory_bytes_batch_8": 40,
    }
