"""What a Keras configuration may build, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.lip_reading.architecture import check_architecture
from pipelines.conversion.lip_reading.source import inspect
from registry.errors import UserError

from . import lip_folders as lips

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[dict[str, Any]], Any]

HERE = Path(__file__).resolve().parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(lips.write_bare(tmp_path / "bare"))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def rebuilt(folder: Path, change: Change) -> Path:
    lips.write_archive(folder / "model.keras", lips.entries(lips.changed(change)))
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config: config["Conv3D"].update(class_name="Lambda"), "holds a Lambda layer"),
        (lambda config: config["Conv3D"].update(class_name="TFSMLayer"), "holds a TFSMLayer"),
        (
            lambda config: config["Conv3D"]["config"].update(
                activation={"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
            ),
            "Python function as bytes",
        ),
        (
            lambda config: config["Conv3D"]["config"].update(
                activation={"class_name": "function", "config": "system", "module": "os"}
            ),
            "function of the user's own",
        ),
        (
            lambda config: config["Conv3D"].update(class_name="TorchModuleWrapper"),
            "opens a pickle",
        ),
        (
            lambda config: config["Conv3D"].update(registered_name="mine>Conv3D"),
            "custom or unknown object 'mine>Conv3D'",
        ),
        (
            lambda config: config["Conv3D"].update(class_name="Conv9D"),
            "custom or unknown object 'Conv9D'",
        ),
        (lambda config: config["Conv3D"].update(module="os"), "from the module 'os'"),
        (
            lambda config: config["TimeDistributed"]["config"]["layer"].update(class_name="Lambda"),
            "holds a Lambda layer",
        ),
        (
            lambda config: config["Conv3D"]["config"].update(
                kernel_initializer={"class_name": "Mine", "config": {}}
            ),
            "custom or unknown object 'Mine'",
        ),
        (
            lambda config: config["Conv3D"]["config"].update(activation="mine"),
            "the activation 'mine'",
        ),
        (
            lambda config: config["InputLayer"]["config"].update(
                batch_shape=[None, 75, 50, 100, 1]
            ),
            "its input is (None, 75, 50, 100, 1) float32, not (None, 75, 46, 140, 1)",
        ),
        (
            lambda config: config["InputLayer"]["config"].update(batch_shape=[8, *lips.DIMS]),
            "its input is (8, 75, 46, 140, 1)",
        ),
        (
            lambda config: config["InputLayer"]["config"].update(dtype="uint8"),
            "its input is (None, 75, 46, 140, 1) uint8",
        ),
        (
            lambda config: config["Conv3D"].update(class_name="InputLayer"),
            "has 2 inputs",
        ),
        (
            lambda config: config["Dense"].update(class_name="Conv1D"),
            "its last layer is a 'Conv1D'",
        ),
        (
            lambda config: config["Dense"]["config"].update(activation="sigmoid"),
            "its last activation is sigmoid",
        ),
        (lambda config: config["Dense"]["config"].update(units=5), "the last layer has 5 outputs"),
        (lambda config: config["Dense"]["config"].update(units="4"), "not a Dense of tokens"),
        (
            lambda config: config[""].update(class_name="Dense", registered_name=None),
            "not a Functional or Sequential",
        ),
        (
            lambda config: config[""]["config"].update(layers=7),
            "does not describe a model as Keras does (TypeError",
        ),
        (
            lambda config: config[""]["config"].update(output_layers=["gone", 0, 0]),
            "does not lead from one clip",
        ),
        (
            lambda config: config[""]["config"].update(output_layers=[["dense", 0, 0]] * 2),
            "does not lead from one clip",
        ),
    ],
)
def test_network_that_should_not_be_built(folder: Path, change: Change, reason: str) -> None:
    assert reason in refused(rebuilt(folder, change))


def test_what_compiling_would_need_is_never_read(folder: Path) -> None:
    lambda_loss = {"loss": {"class_name": "__lambda__"}}
    rebuilt(folder, lambda config: config[""].update(compile_config=lambda_loss))
    inspect(folder)


def test_deep_nesting_is_refused(folder: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"config": deep}
    rebuilt(folder, lambda config: config["Conv3D"]["config"].update(more=deep))
    assert "nested too deeply" in refused(folder)


@pytest.mark.parametrize("tail", ["Activation", "Softmax"])
def test_softmax_may_be_a_layer_of_its_own(tail: str) -> None:
    def change(config: dict[str, Any]) -> None:
        config["Dense"]["config"]["activation"] = "linear"
        last = lips._layer(tail, "dense", activation="softmax")
        config[""]["config"]["layers"].append(last)
        config[""]["config"]["output_layers"] = [tail.lower(), 0, 0]

    found = check_architecture(lips.changed(change), "here")
    assert (found.vocabulary_size, found.is_normalised) == (4, True)


def test_logits_are_known_as_such() -> None:
    config = lips.changed(lambda config: config["Dense"]["config"].update(activation="linear"))
    assert not check_architecture(config, "here").is_normalised


def test_configuration_of_keras_2() -> None:
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *lips.DIMS]}},
        {"class_name": "Dense", "config": {"units": 4, "activation": "softmax"}},
    ]
    for name, layer in zip(("clip", "tokens"), layers, strict=True):
        layer |= {"name": name, "inbound_nodes": [[["clip", 0, 0, {}]]] if name != "clip" else []}
    config = {"layers": layers, "output_layers": [["tokens", 0, 0]]}
    assert check_architecture({"class_name": "Functional", "config": config}, "").layers == 2
    config = {"layers": layers}
    assert check_architecture({"class_name": "Sequential", "config": config}, "").layers == 2


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a configuration."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    return [path, *(place for key in keys for place in _places(value[key], (*path, key)))]


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 80)
    | st.floats(allow_nan=False)
    | st.text("a:>", max_size=3),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "layer", "name"]), part, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_changed_configuration_never_raises_anything_else(data: Any) -> None:
    config = lips.changed(lambda _: None)
    *way, last = data.draw(st.sampled_from(_places(config)[1:]))
    inner: Any = config
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(ANY)
    try:
        check_architecture(config, "here")
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
