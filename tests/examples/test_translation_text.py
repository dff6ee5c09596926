"""The commands and their Spanish: one right answer each, and no frame in two sets."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from speech.dataset import folder_digest
from speech.grammar import SLOTS
from translation.spanish import COLOURS, VERBS, translate
from translation.splits import SPLITS, frames_of, rows_of, training_frames, training_sentences

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
NOUNS = {noun: feminine for verb in VERBS.values() for feminine, noun in enumerate(verb.nouns)}
sentences = st.tuples(*(st.sampled_from(slot) for slot in SLOTS)).map(" ".join)


@pytest.mark.parametrize(
    ("command", "spanish"),
    [
        ("place red by d four soon", "coloca pronto los cuatro libros rojos junto a la d"),
        ("place red by x four soon", "coloca pronto las cuatro cajas rojas junto a la x"),
        ("place red by x one soon", "coloca pronto una caja roja junto a la x"),
        ("place red by d zero soon", "no coloques pronto ningún libro rojo junto a la d"),
        ("bin blue at f two now", "tira los dos papeles azules en la f ahora mismo"),
        ("bin green at z zero now", "no tires ninguna bolsa verde en la z ahora mismo"),
        ("set white in a nine please", "por favor, pon los nueve platos blancos dentro de la a"),
        ("set white in m zero please", "por favor, no pongas ninguna taza blanca dentro de la m"),
        ("lay blue with l one again", "vuelve a extender un mantel azul con la l"),
        ("lay blue with z zero again", "no vuelvas a extender ninguna alfombra azul con la z"),
    ],
)
def test_translation(command: str, spanish: str) -> None:
    assert translate(command) == spanish


@pytest.mark.parametrize(
    "text", ["", "place red by d four", "place red by w four soon", "red place by d four soon"]
)
def test_other_text_has_no_translation(text: str) -> None:
    with pytest.raises(ValueError, match="is not a GRID sentence"):
        translate(text)


@given(command=sentences)
def test_article_noun_and_colour_agree(command: str) -> None:
    words = translate(command).replace(",", "").split()
    singular = {noun: noun for noun in NOUNS} | {f"{noun}s": noun for noun in NOUNS}
    singular |= {f"{noun}es": noun for noun in NOUNS}
    (place,) = [number for number, word in enumerate(words) if word in singular]
    noun, colour = singular[words[place]], words[place + 1]
    is_plural = words[place] != noun
    masculine, feminine = COLOURS[command.split()[1]]
    expected = feminine if NOUNS[noun] else masculine
    assert colour.startswith(expected)
    assert (colour != expected) == is_plural
    assert is_plural == (command.split()[4] not in {"zero", "one"})
    articles = {"un": (0, 0), "una": (1, 0), "ningún": (0, 0), "ninguna": (1, 0)}
    articles |= {"los": (0, 1), "las": (1, 1)}
    said = words[place - 2] if is_plural else words[place - 1]
    assert articles[said] == (NOUNS[noun], int(is_plural))


@given(command=sentences)
def test_a_prohibition_is_a_subjunctive(command: str) -> None:
    words = command.split()
    said = translate(command).removeprefix("por favor, ")
    forms = VERBS[words[0]]
    assert said.startswith("no ") == (words[4] == "zero")
    if words[5] == "again":
        assert f" a {forms.infinitive} " in said
    else:
        form = forms.subjunctive if words[4] == "zero" else forms.imperative
        assert form in said.split()


def test_no_two_commands_have_one_translation() -> None:
    commands = [" ".join(words) for words in itertools.product(*SLOTS)]
    assert len({translate(command) for command in commands}) == len(commands) == 64_000


def test_no_frame_is_in_two_sets() -> None:
    sets = [frames_of(split) for split in SPLITS.values()] + [training_frames()]
    assert [len(frames) for frames in sets] == [50, 12, 194]
    assert len({frame for frames in sets for frame in frames}) == 256
    asked = {row.source for split in SPLITS.values() for row in rows_of(split)}
    assert len(asked) == 50 * 8 + 12 * 8
    assert not asked & {source for source, _ in training_sentences()}


def test_every_word_of_the_evaluation_is_in_the_training() -> None:
    trained = {word for pair in training_sentences() for text in pair for word in text.split()}
    rows = rows_of(SPLITS["text-evaluation"])
    assert {word for row in rows for word in f"{row.source} {row.text}".split()} <= trained


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written")
    for name in SPLITS:
        command = [sys.executable, "-m", "translation", name, str(root / name)]
        subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=60)
    return root


@pytest.mark.parametrize("name", SPLITS)
def test_a_set_on_disk(written: Path, name: str) -> None:
    folder = written / name
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    for row in rows:
        assert row["text"] == translate(row["source"])
        assert row["speaker"] == "-".join([*row["source"].split()[:3], row["source"].split()[5]])
        assert row["amount"] in {"none", "one", "several"}
        assert all(isinstance(value, str) for value in row.values())
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts == {
        "name": name,
        "kind": "text",
        "sample_rate": 1,
        "count": len(rows),
        "sha256": folder_digest(folder),
    }


@pytest.mark.parametrize("name", SPLITS)
def test_a_set_made_anew_is_what_the_lock_pins(written: Path, name: str) -> None:
    (out,) = YAML(typ="safe").load(GRID / "dvc.lock")["stages"][name]["outs"]
    listing = [
        {"md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), "relpath": file}
        for file in ("dataset.json", "manifest.jsonl")
        for path in [written / name / file]
    ]
    text = json.dumps(listing, sort_keys=True)
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert out["md5"] == f"{digest}.dir"
