"""What a text is before its errors are counted: the normaliser decides what an error is.

A normaliser is named in the policy and recorded in the report, by its name and, where it is code
that can change, by a version or a hash. Nothing here counts, and no text is changed in silence.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Normaliser = Callable[[str], str]

# Folding and composing can undo each other for a few rare sequences; none seen needs a third pass.
_PASSES = 4
_APOSTROPHES = frozenset("'\u02bc\u2018\u2019\uff07")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_WHISPER_PACKAGE = "whisper-normalizer"


def normaliser_of(name: str) -> Normaliser:
    """The function of that name, from a text to its words parted by single spaces.

    - "none" folds white space only, as jiwer does: an accent that is composed in another way
      (NFC, NFD) is an error.
    - "basic" also applies NFKC and case folding, drops apostrophes and invisible format
      characters, and makes every other punctuation mark or symbol a space.
    - "whisper-english" and "whisper-basic" are those of OpenAI's Whisper (Radford et al. 2022,
      appendix C), from the package whisper-normalizer.
    - "module:function" is the user's own, found where Python finds modules.

    Raises UserError for a name that is none of these, a function that cannot be imported, or,
    once it is called, one that raises or returns no text.
    """
    if name in NORMALISERS:
        return NORMALISERS[name]
    return _registered(name)


def normaliser_id(name: str) -> str:
    """What a report records: the name, with the version of a package's or the hash of a user's.

    Raises UserError as `normaliser_of` does.
    """
    if name.startswith("whisper-") and name in NORMALISERS:
        return f"{name} ({_WHISPER_PACKAGE} {importlib.metadata.version(_WHISPER_PACKAGE)})"
    if name in NORMALISERS:
        return name
    return f"{name} (sha256 {_source_hash(_imported(name), name)})"


def fold_spaces(text: str) -> str:
    """Words parted by single spaces."""
    return " ".join(text.split())


def _basic(text: str) -> str:
    if text.isascii():  # nothing to compose, and settled at once
        return fold_spaces(text.lower().translate(_PLAIN))
    for _ in range(_PASSES):
        folded = unicodedata.normalize("NFKC", text).casefold()
        folded = unicodedata.normalize("NFKC", folded)
        folded = fold_spaces(unicodedata.normalize("NFKC", folded.translate(_PLAIN)))
        if folded == text:
            break
        text = folded
    return text


def _plain(character: str) -> str:
    """The character, a space in place of a punctuation mark or symbol, or nothing."""
    if character.isalnum():
        return character
    if character in _APOSTROPHES:
        return ""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PS" else character


class _PlainCharacters(dict[int, str]):
    """`_plain` as a table for `str.translate`, filled with the characters that were met."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _plain(chr(code))
        return plain


_PLAIN = _PlainCharacters()


def _whisper_english(text: str) -> str:
    return fold_spaces(_whisper("english", "EnglishTextNormalizer")(text))


def _whisper_basic(text: str) -> str:
    return fold_spaces(_whisper("basic", "BasicTextNormalizer")(text))


@cache
def _whisper(module: str, name: str) -> Normaliser:
    found = importlib.import_module(f"whisper_normalizer.{module}")
    made: Normaliser = getattr(found, name)()
    return made


NORMALISERS: Mapping[str, Normaliser] = {
    "none": fold_spaces,
    "basic": _basic,
    "whisper-english": _whisper_english,
    "whisper-basic": _whisper_basic,
}
"""Normalisers that need no registering, by the name that a policy gives."""


def _registered(name: str) -> Normaliser:
    function = _imported(name)

    def apply(text: str) -> str:
        try:
            found = function(text)
        except Exception as error:  # the user's own code: whatever it raises is one line to read
            raise UserError(f"raised {type(error).__name__}: {error}", where=name) from error
        if not isinstance(found, str):
            raise UserError(f"returned {type(found).__name__} instead of a text", where=name)
        return fold_spaces(found)

    return apply


def _imported(name: str) -> Callable[[str], object]:
    if not _FUNCTION.fullmatch(name):
        raise UserError(
            f"there is no normaliser {name!r}",
            remedy=f"use {', '.join(NORMALISERS)}, or your own as module:function",
        )
    module, _, attribute = name.partition(":")
    remedy = f"check that `python -c 'from {module} import {attribute}'` works in the workspace"
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's code, which may raise anything
        reason = f"cannot be imported: {type(error).__name__}: {error}"
        raise UserError(reason, where=name, remedy=remedy) from error
    if not callable(function):
        raise UserError("is not a function", where=name, remedy=remedy)
    called: Callable[[str], object] = function
    return called


def _source_hash(function: Callable[[str], object], name: str) -> str:
    try:
        source = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError) as error:
        raise UserError(
            "has no source to hash, so a report could not say what it did",
            where=name,
            remedy="wrap it in a function of your own",
        ) from error
    return hashlib.sha256(source.encode()).hexdigest()
