"""Every broken set is refused by name; a whole one is what its hash says."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from registry.errors import IntegrityError, UserError
from validation.contracts import check_contract
from validation.dataset import Dataset, first_difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


def refuse(disk: Any, *words: str, pin: str | None = None) -> None:
    """The set is refused with one line that says all of `words`."""
    with pytest.raises(UserError) as caught:
        Dataset.load(disk.folder, pin)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def edit(disk: Any, row: int, **columns: object) -> None:
    disk.rows[row] |= columns
    disk.write_manifest()
    disk.seal()


def test_a_whole_set_is_read(disk: Any) -> None:
    pin = disk.seal()
    dataset = Dataset.load(disk.folder, pin)
    assert (dataset.name, dataset.sample_rate, dataset.sha256) == ("tiny", 16000, pin)
    assert [utterance.id for utterance in dataset.utterances] == [row["id"] for row in disk.rows]
    first = dataset.utterances[0]
    assert first.columns == {"speaker": "speaker-0", "noise": "noisy"}
    assert first.duration_s == pytest.approx(0.1)


def test_waveforms_are_floats_of_full_scale_one(disk: Any) -> None:
    disk.write_clip("clip-0", np.tile(np.array([-32768, 0, 16384, 32767], np.int16), 400))
    disk.seal()
    dataset = Dataset.load(disk.folder)
    wave = dataset.question(dataset.utterances[0])
    assert wave.dtype == np.float32
    assert wave[:4].tolist() == [-1.0, 0.0, 0.5, np.float32(32767 / 32768)]
    assert wave.shape == (1600,)


def test_a_clip_that_changes_later_is_not_served(disk: Any) -> None:
    dataset = Dataset.load(disk.folder)
    disk.write_clip("clip-1", np.ones(1601, np.int16))
    with pytest.raises(IntegrityError, match=r"audio/clip-1\.wav: the clip changed"):
        dataset.question(dataset.utterances[1])


def test_hash_is_not_the_pin(disk: Any) -> None:
    refuse(disk, "not the pinned", "cdcdcdcdcdcd", pin="cd" * 32)


def test_changed_bytes_are_found_without_a_pin(disk: Any) -> None:
    disk.write_clip("clip-1", np.ones(1601, np.int16))
    refuse(disk, "files hash to", "dataset.json says")


@pytest.mark.parametrize("name", ["dataset.json", "manifest.jsonl", "audio/clip-2.wav"])
def test_missing_file(disk: Any, name: str) -> None:
    (disk.folder / name).unlink()
    refuse(disk, name, "missing")


@pytest.mark.parametrize("name", ["audio/extra.wav", "notes.txt", ".hidden"])
def test_extra_file(disk: Any, name: str) -> None:
    (disk.folder / name).write_bytes(b"x")
    disk.seal()
    refuse(disk, name, "no line of manifest.jsonl names this file")


def test_links_are_refused(disk: Any) -> None:
    clip = disk.folder / "audio/clip-3.wav"
    clip.rename(disk.folder.parent / "elsewhere.wav")
    clip.symlink_to(disk.folder.parent / "elsewhere.wav")
    refuse(disk, "clip-3.wav", "no links")


def test_wrong_rate(disk: Any) -> None:
    disk.write_clip("clip-1", np.zeros(801, np.int16), rate=8000)
    disk.seal()
    refuse(disk, "clip-1.wav", "8000 Hz, not 16000 Hz")


def test_stereo(disk: Any) -> None:
    disk.write_clip("clip-1", np.zeros(3202, np.int16), channels=2)
    disk.seal()
    refuse(disk, "clip-1.wav", "2 channels")


def test_eight_bits(disk: Any) -> None:
    disk.write_clip("clip-1", np.zeros(1601, np.uint8))
    disk.seal()
    refuse(disk, "clip-1.wav", "8 bits, not 16")


def test_empty_clip(disk: Any) -> None:
    disk.write_clip("clip-1", np.zeros(0, np.int16))
    disk.seal()
    refuse(disk, "clip-1.wav", "no sample")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda content: content[:-100], "ends after 1551 of 1601 samples"),
        (lambda content: content[:30], "not a PCM WAV file"),
        (lambda _: b"", "not a PCM WAV file"),
        (lambda _: b"ID3 not audio", "not a PCM WAV file"),
    ],
)
def test_damaged_clip(disk: Any, damage: Callable[[bytes], bytes], word: str) -> None:
    path: Path = disk.folder / "audio/clip-1.wav"
    path.write_bytes(damage(path.read_bytes()))
    disk.seal()
    refuse(disk, "clip-1.wav", word)


def test_duration_of_another_clip(disk: Any) -> None:
    edit(disk, 2, duration=1.25)
    refuse(disk, "clip-2.wav", "manifest.jsonl says 1.250 s")


def test_duplicate_id(disk: Any) -> None:
    edit(disk, 2, id="clip-0")
    refuse(disk, "manifest.jsonl:3", "'clip-0'", "line 1")


def test_one_clip_for_two_references(disk: Any) -> None:
    edit(disk, 3, audio_filepath="audio/clip-0.wav")
    refuse(disk, "manifest.jsonl:4", "audio/clip-0.wav", "line 1")


@pytest.mark.parametrize("text", ["", "  \t\u00a0"])
def test_empty_reference(disk: Any, text: str) -> None:
    edit(disk, 1, text=text)
    refuse(disk, "manifest.jsonl:2", "'clip-1'", "empty reference")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../clip-1.wav",
        "audio/../../x.wav",
        "./audio/clip-1.wav",
        "audio\\clip-1.wav",
    ],
)
def test_paths_stay_inside(disk: Any, path: str) -> None:
    edit(disk, 1, audio_filepath=path)
    refuse(disk, "manifest.jsonl:2", "not a plain path")


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"duration": "long"}, "duration"),
        ({"duration": -1.0}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"speaker": None}, "speaker"),
        ({"noise": 3}, "noise"),
        ({"id": 7}, "id"),
    ],
)
def test_wrong_column(disk: Any, columns: dict[str, object], word: str) -> None:
    edit(disk, 2, **columns)
    refuse(disk, "manifest.jsonl:3", word)


@pytest.mark.parametrize(
    "line", [b"{", b"", b"[]", b'{"id": "x"}', b'{"id": "\xff"}', b'{"id": "\\ud800"}', b"null"]
)
def test_bad_line_is_named_by_its_number(disk: Any, line: bytes) -> None:
    lines = disk.manifest.read_bytes().split(b"\n")
    lines[2] = line
    disk.manifest.write_bytes(b"\n".join(lines))
    disk.seal()
    refuse(disk, "manifest.jsonl:3")


@pytest.mark.parametrize(
    ("width", "values", "word"),
    [
        ("<f4", [0.1, float("nan"), float("inf")], "32-bit floats, not 16-bit integers, 2 of them"),
        ("<f8", [0.1, 0.2], "64-bit floats, not 16-bit integers"),
    ],
)
def test_float_samples_and_those_that_are_no_numbers(
    disk: Any, width: str, values: list[float], word: str
) -> None:
    data = np.array(values, dtype=width).tobytes()
    size = np.dtype(width).itemsize
    layout = struct.pack("<HHIIHH", 3, 1, 16000, 16000 * size, size, 8 * size)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", len(data)) + data
    riff = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    (disk.folder / "audio/clip-1.wav").write_bytes(riff)
    disk.seal()
    refuse(disk, "clip-1.wav", word)


def test_a_name_in_another_unicode_form_on_disk(disk: Any) -> None:
    (disk.folder / "audio/clip-1.wav").rename(disk.folder / "audio/cle\u0301.wav")
    edit(disk, 1, audio_filepath="audio/cl\u00e9.wav")
    refuse(disk, "cl\u00e9.wav", "another Unicode form")


@pytest.mark.parametrize("key", ["id", "audio_filepath"])
def test_a_name_in_another_unicode_form_in_the_manifest(disk: Any, key: str) -> None:
    edit(disk, 2, **{key: "cle\u0301"})
    refuse(disk, "manifest.jsonl:3", "normal form C")


def test_a_clip_for_sound_needs_no_reference(disk: Any) -> None:
    (disk.folder / "clean").mkdir()
    for row in disk.rows:
        clean = f"clean/{row['id']}.wav"
        (disk.folder / clean).write_bytes((disk.folder / row["audio_filepath"]).read_bytes())
        row["clean_filepath"] = clean
        del row["text"]
    disk.write_manifest()
    disk.seal(kind="noisy-speech")
    dataset = Dataset.load(disk.folder)
    assert {utterance.text for utterance in dataset.utterances} == {""}
    report = check_contract(dataset)
    assert report.passed, report.broken
    half = (*dataset.utterances[:2], *(replace(u, text="bin") for u in dataset.utterances[2:]))
    (found,) = check_contract(replace(dataset, utterances=half)).broken
    assert (found.column, found.failing) == ("text", ("clip-0", "clip-1"))


def test_noisy_and_clean_recordings_are_looked_for_elsewhere(disk: Any) -> None:
    (disk.folder / "clean").mkdir()
    for number, row in enumerate(disk.rows):
        row["clean_filepath"] = f"clean/{row['id']}.wav"
        disk.write_clip(f"../{row['clean_filepath'][:-4]}", np.full(1600 + number, 7, np.int16))
    disk.write_manifest()
    disk.seal(kind="noisy-speech")
    dataset = Dataset.load(disk.folder)
    clean = dataset.digests["clean/clip-2.wav"]
    assert dataset.shared_with({clean}) == ("clip-2",)
    (found,) = check_contract(dataset, declared={"training": {clean}}).broken
    assert found.failing == ("clip-2",)


def test_the_first_mistake_by_line_is_the_one_told(disk: Any) -> None:
    for name in ("clip-3", "clip-1"):
        disk.write_clip(name, np.zeros(0, np.int16))
    disk.seal()
    for _ in range(5):
        refuse(disk, "clip-1.wav", "no sample")


def test_the_first_file_that_differs() -> None:
    pinned = {"a": "1", "b": "2", "c": "3"}
    assert first_difference(pinned, dict(pinned)) == ""
    assert first_difference(pinned, {"a": "1", "b": "9", "c": "8"}).startswith("b is not the file")
    assert first_difference(pinned, {"a": "1", "b": "2"}) == "c is missing"
    assert first_difference(pinned, pinned | {"aa": "4"}) == "aa is new"


def test_no_utterance(disk: Any) -> None:
    disk.manifest.write_bytes(b"")
    disk.seal()
    refuse(disk, "manifest.jsonl", "no utterance")


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"count": 5}, "4 lines, but dataset.json says 5"),
        ({"kind": "video"}, "kind"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sha256": "ABC"}, "sha256"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_header(disk: Any, facts: dict[str, object], word: str) -> None:
    disk.seal(**facts)
    refuse(disk, word)


def test_header_that_is_no_json(disk: Any) -> None:
    (disk.folder / "dataset.json").write_text("{]")
    refuse(disk, "dataset.json", "JSON")


def test_folder_that_is_not_there(disk: Any) -> None:
    disk.folder.rename(disk.folder.parent / "moved")
    refuse(disk, "dataset.json", "missing")


def test_the_example_set_hashes_as_its_maker_says(pytestconfig: pytest.Config) -> None:
    folder = pytestconfig.rootpath / "examples/grid/data/evaluation"
    if not (folder / "dataset.json").is_file():
        pytest.skip("the example data is not pulled")
    facts = json.loads((folder / "dataset.json").read_text())
    dataset = Dataset.load(folder, facts["sha256"])
    assert len(dataset.utterances) == facts["count"]
    assert {"speaker", "noise", "accent", "rate"} <= set(dataset.utterances[0].columns)
