"""What is kept of texts: a name by a key, the script, how much of them no vocabulary knows."""

from __future__ import annotations

import json
import subprocess
from hashlib import blake2b
from pathlib import Path

import pytest

from infra.environments.locks import SERVING
from model_repository.programs.common.fingerprint import KEY_VARIABLE, fingerprint
from model_repository.programs.common.quality import describe_text
from model_repository.programs.common.scripts import script_of
from model_repository.programs.common.unknown import unknown_rate


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "text.key"
    path.write_bytes(bytes(range(32)))
    monkeypatch.setenv(KEY_VARIABLE, str(path))
    return path


def test_a_text_has_one_name_under_one_key(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fingerprint("yes")
    assert name == fingerprint("yes") == describe_text("yes", (1,), -0.1)["text_hash"]
    assert name == blake2b(b"yes", digest_size=8, key=key.read_bytes()).hexdigest()
    assert name not in {fingerprint("Yes"), fingerprint("no")}
    # Who does not have the key cannot find the text by trying.
    assert name != blake2b(b"yes", digest_size=8).hexdigest()
    other = tmp_path / "other.key"
    other.write_bytes(bytes(32))
    monkeypatch.setenv(KEY_VARIABLE, str(other))
    assert fingerprint("yes") != name


def test_an_empty_text_has_no_name(key: Path) -> None:
    assert key.exists()
    assert fingerprint("") is None


def test_without_a_key_nothing_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert fingerprint("yes") is None


@pytest.mark.parametrize("content", [None, b"", b"too short", bytes(65)])
def test_a_key_that_is_none_costs_no_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:
    path = tmp_path / "text.key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(KEY_VARIABLE, str(path))
    assert [fingerprint("yes"), fingerprint("no")] == [None, None]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("bin blue", "latin"),
        ("привет, Anna", "cyrillic"),
        ("你好", "cjk"),
        ("مرحبا", "arabic"),
        ("Zürich ÷ 3", "latin"),
        ("12:30 !?", None),
        ("", None),
        ("a" * 500 + "я" * 5000, "latin"),
    ],
)
def test_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


@pytest.mark.engine
def test_the_unknown_token_of_a_tokenizer_is_found(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(SERVING.python), "-c", _TOKENIZERS, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, None, 1]


_TOKENIZERS = """
import json, pathlib, sys
from tokenizers import Tokenizer, models
from model_repository.programs.common.unknown import unknown_token

words, found = {"<unk>": 0, "bin": 1}, []
for number, model in enumerate([
    models.WordLevel(words, unk_token="<unk>"),
    models.BPE(words, [], unk_token="<unk>"),
    models.BPE(words, []),
    models.Unigram([("bin", -1.0), ("<unk>", -2.0)], unk_id=1),
]):
    tokenizer, path = Tokenizer(model), pathlib.Path(sys.argv[1]) / f"{number}.json"
    tokenizer.save(str(path))
    found.append(unknown_token(tokenizer, path))
print(json.dumps(found))
"""


def test_the_share_of_unknown_tokens() -> None:
    assert unknown_rate((0, 1, 0, 1), 0) == 0.5
    assert unknown_rate([1, 1], 0) == 0
    assert unknown_rate([1, 1], None) is None
    assert unknown_rate([], 0) is None
