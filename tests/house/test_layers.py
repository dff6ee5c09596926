"""Imports go down the rooms' list, and the list is the one that the contract file holds."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = (
    "cli",
    "pipelines",
    "infra",
    "drift",
    "canary",
    "model_repository",
    "validation",
    "pipelines.conversion",
    "registry",
)


@pytest.fixture(scope="module")
def layers(checkout: Path) -> list[list[str]]:
    parser = configparser.ConfigParser()
    parser.read(checkout / ".importlinter")
    lines = parser["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip(" ()") for name in line.split(":")] for line in lines if line.strip()]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [program, "--no-cache", "--no-logo"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_contracts_hold(checkout: Path) -> None:
    result = lint(checkout)
    assert result.returncode == 0, result.stdout


def test_an_import_upwards_breaks_the_contract(checkout: Path, tmp_path: Path) -> None:
    for room in ROOMS:
        package = tmp_path / room.replace(".", "/")
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    (tmp_path / "canary/bad.py").write_text("import infra\n")
    (tmp_path / ".importlinter").write_text((checkout / ".importlinter").read_text())
    result = lint(tmp_path)
    assert result.returncode == 1
    assert "canary is not allowed to import infra" in result.stdout


def test_layers_are_the_rooms_in_order(layers: list[list[str]]) -> None:
    heads = [names[0] for names in layers]
    assert heads[:1] + ["pipelines"] + heads[2:] == list(ROOMS)
    assert all(name.startswith("pipelines.") for name in layers[1])


def test_every_flow_is_named_in_the_contract(checkout: Path, layers: list[list[str]]) -> None:
    flows = {
        f"pipelines.{path.stem}"
        for path in (checkout / "pipelines").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"pipelines.__init__", "pipelines.conversion"}
    unnamed = sorted(flows - set(layers[1]))
    assert not unnamed, f"add {unnamed} to the flows' line in .importlinter"


def test_environments_need_the_standard_library_only(checkout: Path) -> None:
    """They make the environments, so they run before anything is installed."""
    foreign = {
        name
        for path in (checkout / "infra/environments").glob("*.py")
        for name in _imported(path)
        if name not in sys.stdlib_module_names and name != "infra"
    }
    assert not foreign


def test_pipelines_package_is_empty(checkout: Path) -> None:
    assert (checkout / "pipelines/__init__.py").read_bytes() == b""


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
