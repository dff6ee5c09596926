"""Lip-readers' folders for tests: bare ones made of bytes, tiny real ones, and their variants.

What the converter makes is kept under the hash of all that decides it, beside pytest's own
folders, so that rooms, workers and runs share one conversion.
"""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from infra.environments.locks import KERAS, SERVING
from pipelines.conversion.child import Calibration, ConvertedVariant, convert
from pipelines.conversion.kind import Recipe
from pipelines.conversion.lip_reading.kind import KIND
from pipelines.conversion.recipes import conversion_hash

from ..warm_python import run, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

CHECKOUT = Path(__file__).resolve().parents[2]
ASK = Path(__file__).with_name("ask_program.py")
GRID = CHECKOUT / "examples" / "grid"
MODEL = GRID / "models" / "lips-grid"
TINY = Path(__file__).with_name("make_tiny_lips.py")
DIMS = (75, 46, 140, 1)

CALIBRATION = 24

VOCABULARY = {"tokens": ["a", "b", " ", "<blank>"], "blank": 3, "word_delimiter": " "}


def _layer(name: str, feeder: str, **config: Any) -> dict[str, Any]:
    history = {"class_name": "__keras_tensor__", "config": {"keras_history": [feeder, 0, 0]}}
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": {"name": name.lower(), **config},
        "registered_name": None,
        "name": name.lower(),
        "inbound_nodes": [{"args": [history], "kwargs": {}}] if feeder else [],
    }


CONFIG: dict[str, Any] = {
    "module": "keras.src.models.functional",
    "class_name": "Functional",
    "registered_name": "Functional",
    "config": {
        "name": "lips",
        "layers": [
            _layer("InputLayer", "", batch_shape=[None, *DIMS], dtype="float32"),
            _layer("Conv3D", "inputlayer", filters=2, activation="relu"),
            _layer("TimeDistributed", "conv3d", layer=_layer("Flatten", "")),
            _layer("Dense", "timedistributed", units=4, activation="softmax"),
        ],
        "input_layers": [["inputlayer", 0, 0]],
        "output_layers": ["dense", 0, 0],
    },
    "compile_config": {"optimizer": {"class_name": "Adam"}, "loss": "my>ctc"},
}


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The bare configuration after `change` on its layers by their class."""
    config = copy.deepcopy(CONFIG)
    change({layer["class_name"]: layer for layer in config["config"]["layers"]} | {"": config})
    return config


def hdf5(size: int = 256) -> bytes:
    """The header of an HDF5 file of `size` bytes, and nothing in it."""
    header = bytearray(size)
    header[:8] = b"\x89HDF\r\n\x1a\n"
    header[13:15] = b"\x08\x08"
    header[40:48] = size.to_bytes(8, "little")
    return bytes(header)


def entries(config: Mapping[str, Any] = CONFIG) -> dict[str, bytes]:
    """What is in a bare `.keras` file, by name."""
    return {
        "metadata.json": b'{"keras_version": "3.15.1"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": hdf5(),
    }


def write_archive(path: Path, content: Mapping[str, bytes]) -> None:
    """A zip of these entries, stored as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def write_bare(folder: Path) -> Path:
    """A folder that the inspector accepts; Keras could not run it."""
    folder.mkdir(parents=True)
    write_archive(folder / "model.keras", entries())
    (folder / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    return folder


def tiny(shared: Path, form: str) -> Path:
    """A real network of random weights; `make_tiny_lips.py` says which forms there are."""
    key = hashlib.sha256(TINY.read_bytes() + KERAS.lock_hash.encode()).hexdigest()[:16]
    target = shared / f"sluice-lips-{key}"
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not target.exists():
            staged = target.with_suffix(".staged")
            run(KERAS, str(TINY), str(staged))
            staged.rename(target)
    return target / form


def rows(folder: Path) -> list[dict[str, Any]]:
    """The lines of a split's manifest."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def clip(folder: Path, row: Mapping[str, Any]) -> NDArray[np.float32]:
    """A clip as a client would send it: float32 [75, 46, 140, 1] in 0..1."""
    with np.load(folder / row["video_filepath"]) as stored:
        frames: NDArray[np.float32] = stored["frames"][..., None] / np.float32(255)
    return frames


def save_clips(path: Path, clips: Mapping[str, NDArray[np.float32]]) -> None:
    """Write clips by id to an .npz."""
    np.savez(path, **dict(clips))  # type: ignore[arg-type]  # its stub knows one keyword only


def all_variants(source: Path, shared: Path) -> dict[str, ConvertedVariant]:
    """All variants, calibrated with clips of the calibration split, made in one child."""
    content = b"".join(path.read_bytes() for path in sorted(source.iterdir()))
    decides = f"{conversion_hash(KIND.name)}{KERAS.lock_hash}{CALIBRATION}"
    key = hashlib.sha256(content + decides.encode())
    target = shared / f"sluice-lips-variants-{key.hexdigest()[:16]}"
    facts = target.with_suffix(".json")
    with filelock.FileLock(f"{target}.lock", timeout=280):
        if not facts.exists():
            made = convert_here(source, KIND.variants, target, calibration_of(shared))
            facts.write_text(json.dumps([_row(one) for one in made]))
    return {row["variant"]: _variant(row, target) for row in json.loads(facts.read_text())}


def convert_here(
    source: Path,
    variants: Iterable[str],
    output: Path,
    calibration: Calibration | None = None,
) -> tuple[ConvertedVariant, ...]:
    wanted = set(variants)
    return convert(
        KIND.name,
        source,
        [recipe for recipe in KIND.recipes if recipe.variant in wanted],
        output,
        parent_digest="0" * 64,
        python=warm(KERAS),
        environment_hash=KERAS.lock_hash,
        calibration=calibration,
    )


def calibration_of(shared: Path, count: int = CALIBRATION) -> Calibration:
    """Clips of the calibration split in an order of chance: the whole one takes minutes."""
    folder = GRID / "data" / "lips-calibration"
    sha256 = json.loads((folder / "dataset.json").read_text())["sha256"]
    questions = shared / f"{folder.name}-{sha256[:16]}-{count}.npz"
    if not questions.exists():
        every = rows(folder)
        chosen = np.random.default_rng(1).permutation(len(every))[:count]
        staged = questions.with_suffix(".staged.npz")
        save_clips(staged, {every[i]["id"]: clip(folder, every[i]) for i in chosen})
        staged.rename(questions)
    return Calibration(questions, sha256, ())


_FROM_KERAS = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from itertools import groupby
from pathlib import Path
import keras
import numpy as np
source = Path(sys.argv[1])
vocabulary = json.loads((source / "vocabulary.json").read_text())
model = keras.models.load_model(next(source.glob("model.*")), compile=False)
texts = {}
with np.load(sys.argv[2]) as stored:
    for name in stored.files:
        path = model.predict_on_batch(stored[name][None])[0].argmax(-1)
        kept = [vocabulary["tokens"][i] for i, _ in groupby(path) if i != vocabulary["blank"]]
        text = "".join(kept).replace(vocabulary["word_delimiter"], " ")
        texts[name] = " ".join(text.split())
print(json.dumps(texts))
"""


def source_transcripts(source: Path, clips: Path) -> dict[str, str]:
    """What Keras itself makes of the clips of an .npz, one by one."""
    return dict(json.loads(run(KERAS, "-c", _FROM_KERAS, str(source), str(clips)).splitlines()[-1]))


def program_answers(variant: Path, clips: Path) -> dict[str, dict[str, Any]]:
    """What the serving program answers, in the serving environment, in batches."""
    program = ("lip_reading.reader", "LipReader", "probabilities")
    return dict(json.loads(run(SERVING, str(ASK), *program, str(variant), str(clips))))


def _row(variant: ConvertedVariant) -> dict[str, Any]:
    return {
        "variant": variant.recipe.variant,
        "recipe": variant.recipe.to_json(),
        "tool_versions": dict(variant.tool_versions),
        "seconds": variant.seconds,
        "parity": dict(variant.parity),
        "confined": variant.confined,
    }


def _variant(row: dict[str, Any], root: Path) -> ConvertedVariant:
    return ConvertedVariant(
        Recipe.from_json(row["recipe"]),
        root / row["variant"],
        tool_versions=row["tool_versions"],
        seconds=row["seconds"],
        parity=row["parity"],
        confined=row["confined"],
    )
