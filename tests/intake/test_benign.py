"""Nothing that a user may honestly bring is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry.intake.archives import is_archive, unpack
from registry.intake.gatekeeper import admit, examine

from .benign import LAYOUTS
from .builders import model, write

if TYPE_CHECKING:
    from pathlib import Path

    from .benign import Layout


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_layout_comes_in(layout: Layout, tmp_path: Path) -> None:
    folder, target = tmp_path / "incoming", tmp_path / "unpacked"
    target.mkdir()
    given = layout.make(folder) or folder
    admitted = admit(unpack(given, target) if is_archive(given) else given)
    files = [path for path in admitted.folder.rglob("*") if path.is_file()]
    assert len(admitted.files) == len(files) == sum(admitted.formats.values())
    admitted.check_unchanged()


def test_every_example_comes_in(pytestconfig: pytest.Config) -> None:
    found = {
        folder.name: admit(folder).formats
        for folder in (pytestconfig.rootpath / "examples/grid/models").iterdir()
    }
    assert found["whisper-grid"] == {"json": 7, "safetensors": 1, "text": 1, "tokenizer": 1}
    assert found["lips-grid"] == {"json": 1, "keras": 1}
    assert found["cleaner-grid"] == {"json": 1, "onnx": 1}
    assert found["translation-grid"]["sentencepiece"] == 2


def test_a_file_changed_meanwhile_is_found(tmp_path: Path) -> None:
    from registry.errors import UserError

    for change in (
        {"config.json": '{"model_type": "evil___"}'},
        {"pytorch_model.bin": b"late"},
    ):
        folder = model(tmp_path / str(len(change)) / next(iter(change)))
        admitted = admit(folder)
        write(folder, change)
        with pytest.raises(UserError, match="changed while it was registered"):
            admitted.check_unchanged()


def test_refusals_are_counted_and_the_first_named(tmp_path: Path) -> None:
    from registry.errors import UserError

    folder = write(model(tmp_path / "m"), {"a.py": "x", "b.so": b"\x7fELF", "c.yaml": "x"})
    with pytest.raises(UserError, match=r"b\.so: is a program .* \(and 2 more files refused\)"):
        admit(folder)
    assert [one.path for one in examine(folder).refusals] == ["b.so", "a.py", "c.yaml"]
    assert len(examine(folder).files) == 4
