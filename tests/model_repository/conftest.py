from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from registry.files import canonical_json

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def variant_folder(tmp_path: Path) -> Path:
    """What publishing needs of a variant; no engine could run it."""
    folder = tmp_path / "variant-source"
    folder.mkdir()
    recipe = {"variant": "onnx-int8", "format": "onnx", "precision": "int8", "parameters": {}}
    described = {"recipe": recipe, "longest_question": [48000]}
    (folder / "variant.json").write_bytes(canonical_json(described))
    (folder / "decoder.onnx").write_bytes(b"decoder")
    np.save(folder / "mel_filters.npy", np.zeros((3, 2), np.float32))
    return folder
