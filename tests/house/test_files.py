"""What every file of the house keeps to."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ROOMS = (
    "cli",
    "pipelines",
    "infra",
    "drift",
    "canary",
    "model_repository",
    "validation",
    "registry",
)
LONGEST = 350
# Homes, scratch folders and workplaces of one machine; `~/.cache` and variables are portable.
MACHINE_PATH = re.compile(
    r"(?<![\w.~}])(/home/\w|/Users/\w|/root/|/work/|/workspace/|/mnt/\w|[A-Z]:\\\\Users)"
)
REQUIREMENT = re.compile(r"^[A-Za-z0-9][\w.\-\[\],]*==", re.MULTILINE)


def relative(paths: list[Path], checkout: Path) -> list[str]:
    return [str(path.relative_to(checkout)) for path in paths]


def test_every_module_says_why_it_exists(checkout: Path, modules: tuple[Path, ...]) -> None:
    # A test's name says what it shows; everything else opens with why it exists.
    product = [path for path in modules if checkout / "tests" not in path.parents]
    silent = [path for path in product if (text := path.read_text()).strip() and _silent(text)]
    assert not relative(silent, checkout)


def test_every_module_defers_its_annotations(checkout: Path, modules: tuple[Path, ...]) -> None:
    line = "from __future__ import annotations"
    without = [
        path for path in modules if _has_code(path.read_text()) and line not in path.read_text()
    ]
    assert not relative(without, checkout)


def test_no_path_of_one_machine(checkout: Path, files: tuple[Path, ...]) -> None:
    found = []
    for path in files:
        if path == checkout / "tests/house/test_files.py" or b"\0" in path.read_bytes()[:8192]:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(checkout)}:{number}: {match.group()}")
    assert not found


@pytest.mark.parametrize(
    "name", ["bootstrap", "control", "converter", "keras", "scanners", "serving"]
)
def test_locks_hold_hashes_for_every_package(checkout: Path, name: str) -> None:
    text = (checkout / f"infra/environments/{name}.lock").read_text()
    blocks = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    packages = [block for block in blocks if not block.startswith("#")]
    assert packages
    assert not [block for block in packages if not REQUIREMENT.match(block)]
    assert not [block.split()[0] for block in packages if "--hash=sha256:" not in block]
    assert not re.search(r"https?://|--(?:extra-)?index-url|--find-links", text)


def test_product_files_stay_short(checkout: Path, modules: tuple[Path, ...]) -> None:
    long = [
        f"{path.relative_to(checkout)}: {count} lines"
        for path in modules
        if path.relative_to(checkout).parts[0] in ROOMS
        and (count := len(path.read_text().splitlines())) > LONGEST
    ]
    assert not long, f"split what grew past {LONGEST} lines"


def test_nothing_is_left_undone(checkout: Path, modules: tuple[Path, ...]) -> None:
    marks = re.compile(r"\b(?:TODO|FIXME)\b|raise NotImplementedError")
    others = [path for path in modules if path != checkout / "tests/house/test_files.py"]
    marked = [path for path in others if marks.search(path.read_text())]
    assert not relative(marked, checkout)


def test_licence_is_the_one_named(checkout: Path) -> None:
    text = (checkout / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def _silent(text: str) -> bool:
    return not ast.get_docstring(ast.parse(text))


def _has_code(text: str) -> bool:
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.parse(text).body
    )
