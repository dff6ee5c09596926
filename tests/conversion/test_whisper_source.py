from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.kinds import kind_of
from pipelines.conversion.whisper.source import ALLOWED, REQUIRED, inspect
from registry.errors import UserError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/grid/models"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    return str(caught.value)


def test_facts_come_from_configuration_and_header(bare: Path) -> None:
    facts = inspect(bare)
    assert (facts.window_samples, facts.window_s, facts.mel_bands) == (3200, 0.2, 8)
    assert (facts.vocabulary_size, facts.max_tokens, facts.width) == (5, 6, 4)
    assert facts.parameters == 5 * 4 + 6 * 4 + 4 * 8 * 3 + 8 * 4 + 8 * 4
    assert kind_of("whisper").inspect(bare)["window_s"] == 0.2


@pytest.mark.parametrize("folder", sorted(EXAMPLES.glob("whisper-*")), ids=lambda path: path.name)
def test_examples_are_accepted(folder: Path) -> None:
    assert inspect(folder).mel_bands == 80


def test_window_follows_from_seconds_when_samples_are_left_out(bare: Path) -> None:
    (bare / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": 8, "sampling_rate": 1600, "hop_length": 160, "chunk_length": 2})
    )
    assert inspect(bare).window_samples == 3200


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file_is_named(bare: Path, name: str) -> None:
    (bare / name).unlink()
    assert f"{name} is missing" in refused(bare)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "pickle"),
        ("optimizer.pt", "pickle"),
        ("weights.npz", "pickle"),
        ("modeling_whisper.py", "code"),
        ("native.so", "code"),
        ("training_log.txt", "no part of the conversion reads"),
        (".hidden", "no part of the conversion reads"),
        ("MODEL.SAFETENSORS", "no part of the conversion reads"),
    ],
)
def test_unknown_file_is_refused(bare: Path, name: str, reason: str) -> None:
    (bare / name).write_bytes(b"x")
    message = refused(bare)
    assert name in message
    assert reason in message


def test_known_extra_files_are_accepted(bare: Path) -> None:
    for name in set(ALLOWED) - set(REQUIRED):
        (bare / name).write_text("{}")
    inspect(bare)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_links_are_refused(bare: Path, name: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    if (bare / name).exists():
        (bare / name).rename(target)
    else:
        target.write_text("text")
    (bare / name).symlink_to(target)
    assert "is a link" in refused(bare)
    (bare / name).unlink()
    (bare / name).hardlink_to(target)
    assert "is a link" in refused(bare)


def test_folders_and_pipes_are_refused(bare: Path) -> None:
    (bare / "onnx").mkdir()
    assert "is a folder" in refused(bare)
    (bare / "onnx").rmdir()
    os.mkfifo(bare / "merges.txt")
    assert "is not a plain file" in refused(bare)


def test_absent_folder_and_file_instead_of_folder(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    assert "no such folder" in refused(tmp_path / "file")


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "wav2vec2"},
        {"architectures": ["WhisperForAudioClassification"]},
        {"architectures": None},
    ],
)
def test_other_architectures_are_refused(bare: Path, values: dict[str, Any]) -> None:
    change(bare / "config.json", **values)
    assert "is not a Whisper" in refused(bare)


def test_code_of_its_own_is_refused(bare: Path) -> None:
    change(bare / "config.json", auto_map={"AutoModel": "evil.Model"})
    assert "auto_map" in refused(bare)


def test_window_of_another_extractor_is_refused(bare: Path) -> None:
    change(bare / "preprocessor_config.json", n_samples=6400)
    assert "10 positions are 3200 samples" in refused(bare)


def test_bands_of_another_extractor_are_refused(bare: Path) -> None:
    change(bare / "preprocessor_config.json", feature_size=128)
    assert "feature_size 128" in refused(bare)


@pytest.mark.parametrize("value", [None, 0, -1, "4", 1.5, True])
def test_sizes_are_positive_integers(bare: Path, value: Any) -> None:
    change(bare / "config.json", d_model=value)
    assert "d_model" in refused(bare)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", [name for name in REQUIRED if name.endswith(".json")])
def test_broken_json_is_refused(bare: Path, name: str, content: bytes) -> None:
    (bare / name).write_bytes(content)
    assert name in refused(bare)


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        ("model.decoder.embed_tokens.weight", [6, 4]),
        ("model.decoder.embed_positions.weight", [5, 4]),
        ("model.encoder.conv1.weight", [4, 80, 3]),
    ],
)
def test_weights_of_another_configuration_are_refused(
    bare: Path, checkpoints: Any, tensor: str, shape: list[int]
) -> None:
    weights = checkpoints.safetensors(checkpoints.TENSORS | {tensor: shape})
    (bare / "model.safetensors").write_bytes(weights)
    assert tensor in refused(bare)


def test_missing_layer_is_refused(bare: Path) -> None:
    change(bare / "config.json", decoder_layers=2)
    assert "model.decoder.layers.1.fc1.weight" in refused(bare)


@pytest.mark.parametrize(
    "change_header",
    [
        lambda header: header["model.encoder.conv1.weight"].update(data_offsets=[0, 192]),
        lambda header: header["model.encoder.conv1.weight"].update(dtype="F999"),
        lambda header: header["model.encoder.conv1.weight"].update(shape=[4, 8, 4]),
        lambda header: header["model.encoder.conv1.weight"].update(shape=[-4, -8, 6]),
        lambda header: header["model.encoder.conv1.weight"].pop("shape"),
        lambda header: header.update(other=7),
        lambda header: header.clear(),
    ],
)
def test_headers_that_do_not_add_up_are_refused(
    bare: Path, checkpoints: Any, change_header: Any
) -> None:
    whole = checkpoints.safetensors()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    change_header(header)
    text = json.dumps(header).encode()
    changed = len(text).to_bytes(8, "little") + text + whole[8 + length :]
    (bare / "model.safetensors").write_bytes(changed)
    assert "is damaged or cut short" in refused(bare)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> Path:
    return Path(checkpoints.write_bare(tmp_path_factory.mktemp("source") / "bare"))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_of_the_weights_is_refused(scratch: Path, checkpoints: Any, data: Any) -> None:
    whole = checkpoints.safetensors()
    kept = data.draw(st.integers(0, len(whole) - 1))
    (scratch / "model.safetensors").write_bytes(whole[:kept])
    assert "is damaged or cut short" in refused(scratch)
    (scratch / "model.safetensors").write_bytes(whole + bytes(1 + kept % 7))
    assert "is damaged or cut short" in refused(scratch)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_changed_header_bytes_never_raise_anything_else(
    scratch: Path, checkpoints: Any, data: Any
) -> None:
    whole = bytearray(checkpoints.safetensors())
    length = int.from_bytes(whole[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    (scratch / "model.safetensors").write_bytes(whole)
    try:
        inspect(scratch)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_inspecting_changes_nothing(bare: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bare, tmp_path / "copy")
    inspect(bare)
    assert sorted(p.name for p in bare.iterdir()) == sorted(p.name for p in copy.iterdir())
