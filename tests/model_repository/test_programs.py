"""What serving programs may rest on: their siblings and the serving environment, nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from infra.environments.locks import SERVING
from model_repository import building
from pipelines.conversion.kinds import KINDS

PROGRAMS = Path(building.__file__).parent / "programs"
FILES = sorted(PROGRAMS.rglob("*.py"))
ALLOWED = {"numpy", "pyarrow", "tokenizers", "onnxruntime", "openvino", "sentencepiece"}
ENTRIES = {"model.py", "stream_model.py", "entry.py", "engine.py", "network.py", "devices.py"}
"""Modules that only Triton runs."""
ENTRY_ONLY = {"triton_python_backend_utils", "serving"}


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports; siblings are imported relatively."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            below = node.level == 1 or str(node.module).split(".")[0] == "common"
            assert below, f"{path}: reaches beyond its siblings and what all share"
    return names - sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    extra = ENTRY_ONLY if path.name in ENTRIES else set()
    assert imported(path) <= ALLOWED | extra


@pytest.mark.engine
@pytest.mark.parametrize("program", sorted({kind.program for kind in KINDS.values()} | {"vllm"}))
def test_every_module_imports_in_the_serving_environment(tmp_path: Path, program: str) -> None:
    files = building._program_files(program)
    for name, path in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    modules = [
        name[:-3].replace("/", ".")
        for name in files
        if name.startswith("serving/") and Path(name).name not in ENTRIES
    ]
    imports = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run(
        [str(SERVING.python), "-W", "error", "-c", imports, *modules],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
