from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.environments.locks import CONVERTER
from pipelines.conversion.kind import Recipe
from pipelines.conversion.sensitivity import order, rank
from registry.quiet import QUIET_ENVIRONMENT

CHECKOUT = Path(__file__).resolve().parents[2]
LAYERS = st.integers(0, 40).map(lambda count: [f"g:{number}" for number in range(count)])


@given(LAYERS, st.integers(1, 40), st.data())
def test_sweep_is_bounded_and_ranks_every_layer_once(
    layers: list[str], most_runs: int, data: st.DataObject
) -> None:
    gains = {layer: data.draw(st.floats(0, 1), label=layer) for layer in layers}
    runs: list[tuple[str, ...]] = []

    def gain_of(group: tuple[str, ...]) -> float:
        runs.append(group)
        return sum(gains[layer] for layer in group)

    ranked = order(layers, gain_of, most_runs=most_runs)
    assert len(runs) <= most_runs
    assert all(group for group in runs)
    names = [one.layer for one in ranked]
    assert sorted(names) == sorted(layers)
    assert [one.gain for one in ranked] == sorted((one.gain for one in ranked), reverse=True)
    assert ranked == order(layers, gain_of, most_runs=most_runs)


@given(st.integers(2, 64), st.data())
def test_one_sensitive_layer_is_found_among_many(count: int, data: st.DataObject) -> None:
    layers = [f"g:{number}" for number in range(count)]
    worst = data.draw(st.sampled_from(layers))
    ranked = order(layers, lambda group: float(worst in group), most_runs=24)
    assert ranked[0].layer == worst
    assert ranked[0].gain == 1.0


def test_sweep_that_runs_out_of_time_ranks_what_it_measured() -> None:
    left = iter([True, True, False])
    ranked = order(
        [f"g:{number}" for number in range(8)],
        len,
        most_runs=8,
        may_go_on=lambda: next(left),
    )
    assert [one.layer for one in ranked] == ["g:0", "g:1", "g:2", "g:3"]


def test_no_layers_need_no_runs() -> None:
    assert order([], len, most_runs=8) == ()


MAKE = """
import sys, toy_graphs
from pathlib import Path
from pipelines.conversion.footprint import save_feeds
toy = toy_graphs.outlier(Path(sys.argv[1]))
save_feeds(Path(sys.argv[1]) / "feeds.npz", {"network": toy.feeds(8, 1)})
"""


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outlier")
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
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("a", "onnx", "int8", {"method": "dynamic", "per_channel": False}),
        Recipe("b", "onnx", "int8", {"method": "static", "per_channel": False}),
    ],
    ids=lambda recipe: recipe.parameters["method"],
)
def test_layer_with_an_outlier_is_the_most_sensitive(outlier: Path, recipe: Recipe) -> None:
    graphs = {"network": outlier / "outlier.onnx"}
    ranked = rank(CONVERTER.python, recipe, graphs, outlier / "feeds.npz", most_runs=8, seconds=60)
    assert ranked[0].layer == "network:second"
    assert {one.layer for one in ranked[1:]} == {"network:first", "network:third"}
    assert ranked[0].gain > 2 * max(one.gain for one in ranked[1:])


@pytest.mark.engine
def test_openvino_layers_have_names_that_a_recipe_can_keep(outlier: Path) -> None:
    recipe = Recipe("c", "openvino", "int8", {"method": "full"})
    graphs = {"network": outlier / "outlier.onnx"}
    ranked = rank(CONVERTER.python, recipe, graphs, outlier / "feeds.npz", most_runs=6, seconds=60)
    assert len(ranked) == 3
    assert len({one.gain for one in ranked}) == 3


@pytest.mark.engine
def test_graphs_that_the_recipe_leaves_to_another_are_left_out(outlier: Path) -> None:
    parameters = {"method": "dynamic", "graphs": "encoder", "others": "onnx-fp32"}
    recipe = Recipe("d", "onnx", "int8", parameters)
    graphs = {"network": outlier / "outlier.onnx"}
    assert rank(CONVERTER.python, recipe, graphs, outlier / "feeds.npz", seconds=60) == ()
