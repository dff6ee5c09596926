"""What a voice cleaner's folder must be, shown on ONNX files written here byte by byte."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.kinds import kind_of
from pipelines.conversion.voice_cleaning.source import inspect
from registry.errors import UserError
from registry.intake.onnx_wire import DamagedError, read_model
from tests.intake.builders import field, varint

if TYPE_CHECKING:
    from pathlib import Path

MASK: dict[str, Any] = {
    "representation": "spectrogram-mask",
    "sample_rate": 1600,
    "window_samples": 320,
    "input": "magnitude",
    "output": "mask",
    "n_fft": 64,
    "hop": 16,
    "window": "hann",
}
WAVEFORM = {"representation": "waveform", "sample_rate": 1600, "window_samples": 320}
WAVEFORM |= {"input": "magnitude", "output": "mask"}
FRAMES, BINS = 21, 33
FLOAT, HALF = 1, 10


def value_info(name: str, dims: tuple[int | str, ...], data_type: int = FLOAT) -> bytes:
    sizes = b"".join(field(1, field(1 if isinstance(d, int) else 2, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, data_type) + field(2, sizes)))


def tensor(name: str, dims: tuple[int, ...], *, external: dict[str, str] | None = None) -> bytes:
    content = b"".join(field(1, size) for size in dims) + field(2, FLOAT) + field(8, name)
    if external is None:
        return content + field(9, bytes(4 * math.prod(dims)))
    entries = (field(13, field(1, key) + field(2, text)) for key, text in external.items())
    return content + b"".join(entries) + field(14, 1)


def node(operator: str, domain: str = "", attributes: bytes = b"") -> bytes:
    return field(1, "x") + field(4, operator) + attributes + field(7, domain)


def onnx_file(
    *,
    dims: tuple[int | str, ...] = ("batch", FRAMES, BINS),
    out: tuple[int | str, ...] = ("batch", FRAMES, BINS),
    data_type: int = FLOAT,
    out_type: int = FLOAT,
    nodes: tuple[bytes, ...] = (node("MatMul"), node("Sigmoid")),
    weights: tuple[bytes, ...] = (tensor("w", (BINS, BINS)),),
    extra: bytes = b"",
    opset: int = 17,
    after: bytes = b"",
) -> bytes:
    graph = b"".join(field(1, one) for one in nodes) + field(2, "main")
    graph += b"".join(field(5, one) for one in weights)
    graph += field(11, value_info("magnitude", dims, data_type)) + extra
    graph += field(12, value_info("mask", out, out_type))
    model = field(1, 8) + field(2, "test") + field(7, graph)
    return model + field(8, field(1, "") + field(2, opset)) + after


@pytest.fixture
def cleaner(tmp_path: Path) -> Path:
    folder = tmp_path / "cleaner"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_file())
    (folder / "enhancement.json").write_text(json.dumps(MASK))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_model(folder: Path, **changes: Any) -> str:
    (folder / "model.onnx").write_bytes(onnx_file(**changes))
    return refused(folder)


def test_facts(cleaner: Path) -> None:
    assert inspect(cleaner).dims == (FRAMES, BINS)
    assert kind_of("voice-cleaning").inspect(cleaner) == {
        "sample_rate": 1600,
        "window_samples": 320,
        "window_s": 0.2,
        "parameters": BINS * BINS,
        "opset": 17,
    }


def test_waveforms_are_the_other_representation(cleaner: Path) -> None:
    (cleaner / "enhancement.json").write_text(json.dumps(WAVEFORM))
    (cleaner / "model.onnx").write_bytes(onnx_file(dims=("b", 320), out=("b", "n")))
    assert inspect(cleaner).dims == (320,)


def test_free_sizes_are_accepted(cleaner: Path) -> None:
    (cleaner / "model.onnx").write_bytes(
        onnx_file(dims=("batch", "frames", BINS), out=("batch", "frames", ""))
    )
    inspect(cleaner)


def test_notes_may_lie_beside(cleaner: Path) -> None:
    (cleaner / "README.md").write_text("notes")
    (cleaner / "LICENSE").write_text("free")
    inspect(cleaner)


def test_weights_that_are_inputs_too_are_no_questions(cleaner: Path) -> None:
    old = field(11, value_info("w", (BINS, BINS)))
    (cleaner / "model.onnx").write_bytes(onnx_file(extra=old))
    inspect(cleaner)


@pytest.mark.parametrize("name", ["model.onnx", "enhancement.json"])
def test_missing_file_is_named(cleaner: Path, name: str) -> None:
    (cleaner / name).unlink()
    assert f"{name} is missing" in refused(cleaner)


def test_models_of_other_kinds_are_refused(pytestconfig: pytest.Config) -> None:
    for folder in (pytestconfig.rootpath / "examples/grid/models").iterdir():
        if not folder.name.startswith("cleaner"):
            assert "is this a model of another kind?" in refused(folder)


def test_absent_folder(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "absent")


@pytest.mark.parametrize("name", ["model.bin", "model.onnx_data", "train.py", "notes.txt"])
def test_unknown_file_is_refused(cleaner: Path, name: str) -> None:
    (cleaner / name).write_bytes(b"x")
    assert name in refused(cleaner)


@pytest.mark.parametrize("name", ["model.onnx", "enhancement.json", "model.onnx.data"])
def test_links_are_refused(cleaner: Path, name: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes((cleaner / name).read_bytes() if (cleaner / name).exists() else b"x")
    (cleaner / name).unlink(missing_ok=True)
    (cleaner / name).symlink_to(target)
    assert "is a link" in refused(cleaner)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"representation": "phase"}, "representation is 'phase'"),
        ({"representation": None}, "representation is None"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"sample_rate": 16000.0}, "sample_rate is 16000.0"),
        ({"window_samples": True}, "window_samples is True"),
        ({"window_samples": 330}, "no multiple of hop"),
        ({"input": ""}, "input is ''"),
        ({"output": 3}, "output is 3"),
        ({"n_fft": 63, "hop": 16}, "n_fft 63 is odd"),
        ({"n_fft": 2}, "n_fft is 2"),
        ({"hop": 33}, "hop is 33"),
        ({"hop": 0}, "hop is 0"),
        ({"window": "hamming"}, "window is 'hamming'"),
        ({"centre": True}, "'centre' is no key of a spectrogram-mask"),
        ({"n_fft": 128}, "asks for [batch, 21, 65]"),
        ({"window_samples": 640}, "asks for [batch, 41, 33]"),
        ({"input": "spectrum"}, "names spectrum alone"),
        ({"output": "gain"}, "names gain alone"),
        (WAVEFORM, "'hop' is no key of a waveform"),
    ],
)
def test_descriptions_that_fit_no_network(
    cleaner: Path, changes: dict[str, Any], word: str
) -> None:
    (cleaner / "enhancement.json").write_text(json.dumps(MASK | changes))
    assert word in refused(cleaner)


@pytest.mark.parametrize("key", MASK)
def test_every_key_is_needed(cleaner: Path, key: str) -> None:
    left = {name: value for name, value in MASK.items() if name != key}
    (cleaner / "enhancement.json").write_text(json.dumps(left))
    assert key in refused(cleaner)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_refused(cleaner: Path, content: bytes) -> None:
    (cleaner / "enhancement.json").write_bytes(content)
    assert "enhancement.json" in refused(cleaner)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dims": (1, FRAMES, BINS)}, "has no free batch: [1, 21, 33]"),
        ({"out": (8, FRAMES, BINS)}, "has no free batch: [8, 21, 33]"),
        ({"dims": ()}, "has no free batch"),
        ({"dims": ("batch", BINS, FRAMES)}, "is [batch, 33, 21]"),
        ({"dims": ("batch", FRAMES)}, "is [batch, 21]"),
        ({"out": ("batch", FRAMES, BINS, 2)}, "is [batch, 21, 33, 2]"),
        ({"data_type": HALF}, "no float32"),
        ({"out_type": HALF}, "no float32"),
        ({"extra": field(11, value_info("state", ("batch", 64)))}, "inputs magnitude, state"),
        ({"extra": field(12, value_info("next", ("batch", 64)))}, "outputs next, mask"),
        ({"opset": 27}, "is of opset 27"),
        ({"opset": 9}, "is of opset 9"),
        ({"nodes": (node("FusedConv", "com.microsoft"),)}, "FusedConv is of 'com.microsoft'"),
        ({"nodes": (node("Evil", "my.ops"), node("MatMul"))}, "Evil is of 'my.ops'"),
        ({"after": field(25, field(1, "f"))}, "1 functions of its own"),
    ],
)
def test_graphs_that_cannot_be_served(cleaner: Path, changes: dict[str, Any], word: str) -> None:
    assert word in refused_model(cleaner, **changes)


def test_operators_are_found_in_subgraphs(cleaner: Path) -> None:
    inner = field(1, node("Hidden", "my.ops"))
    for _ in range(3):
        inner = field(1, node("If", "", field(5, field(6, inner))))
    assert "Hidden is of 'my.ops'" in refused_model(
        cleaner, nodes=(node("Loop", "", field(5, field(11, inner))),)
    )


def test_nesting_without_end_is_refused(cleaner: Path) -> None:
    inner = b""
    for _ in range(200):
        inner = field(1, node("If", "", field(5, field(6, inner))))
    assert "nested more than" in refused_model(
        cleaner, nodes=(node("If", "", field(5, field(6, inner))),)
    )


@pytest.mark.parametrize(
    ("external", "word"),
    [
        ({"location": "../secret"}, "keeps weights in '../secret'"),
        ({"location": "/etc/passwd"}, "keeps weights in '/etc/passwd'"),
        ({"location": "other.data"}, "keeps weights in 'other.data'"),
        ({}, "keeps weights in ''"),
        ({"location": "model.onnx.data", "offset": "8", "length": "8"}, "is cut short"),
        ({"location": "model.onnx.data", "offset": "-8", "length": "8"}, "is cut short"),
        ({"location": "model.onnx.data", "offset": "much"}, "at no place"),
    ],
)
def test_weights_elsewhere_are_refused(cleaner: Path, external: dict[str, str], word: str) -> None:
    (cleaner / "model.onnx.data").write_bytes(bytes(12))
    assert word in refused_model(cleaner, weights=(tensor("w", (2,), external=external),))


def test_weights_beside_are_accepted(cleaner: Path) -> None:
    beside = {"location": "model.onnx.data", "offset": "4", "length": "8"}
    (cleaner / "model.onnx").write_bytes(onnx_file(weights=(tensor("w", (2,), external=beside),)))
    assert "model.onnx.data is missing" in refused(cleaner)
    (cleaner / "model.onnx.data").write_bytes(bytes(12))
    inspect(cleaner)


def test_external_weights_hide_nowhere(cleaner: Path) -> None:
    away = tensor("w", (2,), external={"location": "../away"})
    constant = node("Constant", "", field(5, field(5, away)))
    several = node("Thing", "", field(5, field(10, away)))
    for changes in (
        {"nodes": (constant,)},
        {"nodes": (several,)},
        {"extra": field(15, field(1, away))},
    ):
        assert "'../away'" in refused_model(cleaner, **changes)


def test_a_repeated_graph_is_refused(cleaner: Path) -> None:
    (cleaner / "model.onnx").write_bytes(onnx_file() * 2)
    assert "holds 2 graphs" in refused(cleaner)


def test_packed_sizes_are_sizes() -> None:
    packed = field(1, varint(3) + varint(300)) + field(8, "w")
    assert read_model(onnx_file(weights=(packed,))).parameters == 900


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_cut_is_damage(data: Any) -> None:
    whole = onnx_file(after=b"")
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DamagedError):
        read_model(whole[:kept])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 2000).map(lambda n: bytes([0x3A]) * n))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with pytest.raises(DamagedError):
        read_model(content)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(onnx_file(weights=(field(1, 3) + field(2, 1) + field(8, "w"),)))
    for at, byte in changes:
        content[at % len(content)] = byte
    try:
        read_model(bytes(content))
    except DamagedError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
