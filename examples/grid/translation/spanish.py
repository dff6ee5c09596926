"""The one Spanish sentence that a GRID command means here.

The rules are arbitrary where GRID's sentences have no sense ("place red by d four soon"), and
Spanish where they have: a command names a masculine and a feminine thing, of which the letter
picks one (a to l, m to z); the digit is how many of them; article, noun and colour agree in
gender and number; none at all turns the command into a prohibition, which takes the subjunctive;
"again" puts the verb into the infinitive. So nearly no word can be translated alone. This module
knows no text but a command's six words.
"""

from __future__ import annotations

from dataclasses import dataclass

from speech.grammar import SLOTS


@dataclass(frozen=True)
class Verb:
    """Forms of a verb, and the masculine and the feminine noun that it acts on."""

    imperative: str
    subjunctive: str
    infinitive: str
    nouns: tuple[str, str]


VERBS = {
    "bin": Verb("tira", "tires", "tirar", ("papel", "bolsa")),
    "lay": Verb("extiende", "extiendas", "extender", ("mantel", "alfombra")),
    "place": Verb("coloca", "coloques", "colocar", ("libro", "caja")),
    "set": Verb("pon", "pongas", "poner", ("plato", "taza")),
}
COLOURS = {
    "blue": ("azul", "azul"),
    "green": ("verde", "verde"),
    "red": ("rojo", "roja"),
    "white": ("blanco", "blanca"),
}
"""Masculine and feminine of each."""
PREPOSITIONS = {"at": "en", "by": "junto a", "in": "dentro de", "with": "con"}
DIGITS = {
    "two": "dos",
    "three": "tres",
    "four": "cuatro",
    "five": "cinco",
    "six": "seis",
    "seven": "siete",
    "eight": "ocho",
    "nine": "nueve",
}
"""Those that stand as a word of their own; "zero" and "one" become articles."""

_LAST_MASCULINE = "l"
_VOWELS = "aeiou"


def translate(command: str) -> str:
    """The Spanish of a GRID `command`, in lower case.

    Raises ValueError for a text that is not a sentence of the grammar.
    """
    words = command.split()
    if len(words) != len(SLOTS) or any(
        word not in slot for word, slot in zip(words, SLOTS, strict=True)
    ):
        raise ValueError(f"{command!r} is not a GRID sentence")
    verb, colour, preposition, letter, digit, adverb = words
    things = _things(VERBS[verb], colour, digit, feminine=letter > _LAST_MASCULINE)
    place = f"{PREPOSITIONS[preposition]} la {letter}"
    return _sentence(VERBS[verb], adverb, f"{things} {place}", forbidden=digit == "zero")


def _things(verb: Verb, colour: str, digit: str, *, feminine: bool) -> str:
    noun, adjective = verb.nouns[feminine], COLOURS[colour][feminine]
    if digit == "zero":
        return f"{'ninguna' if feminine else 'ningún'} {noun} {adjective}"
    if digit == "one":
        return f"{'una' if feminine else 'un'} {noun} {adjective}"
    article = "las" if feminine else "los"
    return f"{article} {DIGITS[digit]} {_plural(noun)} {_plural(adjective)}"


def _plural(word: str) -> str:
    return f"{word}s" if word[-1] in _VOWELS else f"{word}es"


def _sentence(verb: Verb, adverb: str, rest: str, *, forbidden: bool) -> str:
    said = f"no {verb.subjunctive}" if forbidden else verb.imperative
    if adverb == "again":
        again = "no vuelvas" if forbidden else "vuelve"
        return f"{again} a {verb.infinitive} {rest}"
    if adverb == "now":
        return f"{said} {rest} ahora mismo"
    if adverb == "soon":
        return f"{said} pronto {rest}"
    return f"por favor, {said} {rest}"
