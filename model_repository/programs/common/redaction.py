"""Takes out of a text what names a person or an account, as far as its form gives it away.

Patterns with their check digits, called by the prediction log's own thread and never while a
request waits. Names, addresses and whatever has no form of its own stay: this is no anonymiser.
Entities are called as Presidio calls them (presidio-analyzer, its predefined recognisers). Standard
library only, and every pattern is read in time that grows with the text's length.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .check_digits import (
    is_aadhaar,
    is_address,
    is_card,
    is_counting,
    is_iban,
    is_nhs,
    is_nif,
    is_nric,
    is_pesel,
    is_social_security,
    is_vietnamese,
)
from .spoken import spoken_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LONGEST_CHARS = 20_000
"""Of a text that is redacted; a longer one is not kept."""

_GAP = r"[ \u00a0.-]?"
_NOT_IN_A_NUMBER = r"(?<![\w.,+-])"
_NUMBER_ENDS = r"(?![\w]|[.,-]\d)"
_DOMAINS = (
    "com|org|net|edu|gov|int|info|biz|dev|app|io|ai|vn|uk|de|fr|es|pl|eu|ru|cn|jp|kr|au|ca|ch"
)


@dataclass(frozen=True, slots=True)
class Redacted:
    """The text with `<ENTITY>` where something was, and how often what was taken out."""

    text: str
    counts: Mapping[str, int]


def redact(text: str) -> Redacted:
    """`text` without what the patterns find. Raises ValueError for one that is too long."""
    if len(text) > LONGEST_CHARS:
        raise ValueError(f"{len(text)} characters are more than {LONGEST_CHARS}")
    counts: Counter[str] = Counter()
    pieces, begin = [], 0
    for start, end, entity in _spans(text):
        pieces += [text[begin:start], f"<{entity}>"]
        counts[entity] += 1
        begin = end
    return Redacted("".join([*pieces, text[begin:]]), dict(sorted(counts.items())))


def _spans(text: str) -> list[tuple[int, int, str]]:
    """What is taken out, in order: of those that overlap, the one named first below."""
    taken: list[tuple[int, int, str]] = []
    for start, end, entity in _found(text):
        if all(end <= other[0] or start >= other[1] for other in taken):
            taken.append((start, end, entity))
    return sorted(taken)


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    for entity, pattern, holds in _RECOGNISERS:
        for match in pattern.finditer(text):
            if holds is None or holds(match[0]):
                yield match.start(), match.end(), entity
    for start, end in spoken_numbers(text):
        yield start, end, "SPOKEN_NUMBER"


def _is_phone(found: str) -> bool:
    """Eight to fifteen digits (ITU-T E.164), and no date and no counting."""
    digits = sum(character.isdigit() for character in found)
    return 8 <= digits <= 15 and not _DATE.match(found) and not is_counting(found)


_DATE = re.compile(r"\d{1,2}[ .-]\d{1,2}[ .-](?:19|20)\d{2}(?!\d)")

_Recogniser = tuple[str, "re.Pattern[str]", "Callable[[str], bool] | None"]


def _of(entity: str, pattern: str, holds: Callable[[str], bool] | None = None) -> _Recogniser:
    return entity, re.compile(pattern, re.IGNORECASE), holds


_RECOGNISERS: tuple[_Recogniser, ...] = (
    _of("URL", rf"\b(?:https?|ftp)://[^\s<>\"]+|\bwww\.[^\s<>\"]+\.(?:{_DOMAINS})\b[^\s<>\"]*"),
    _of("EMAIL_ADDRESS", r"(?<![\w.+-])[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),
    _of(
        "EMAIL_ADDRESS",
        r"\b[\w.-]{1,64} (?:at|a còng|@) [\w-]{1,63}(?: (?:dot|chấm) [\w-]{1,63}){0,3}"
        rf" (?:dot|chấm) (?:{_DOMAINS})\b",
    ),
    _of(
        "URL",
        rf"(?<![\w@.-])(?:[a-z0-9-]{{1,63}}\.){{1,5}}(?:{_DOMAINS})\b(?!\.?\w)(?:/[^\s<>\"]*)?",
    ),
    # As it is printed; and in small letters, where words may follow that look like a part of it.
    _of("IBAN_CODE", r"\b(?-i:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8})\b", is_iban),
    _of(
        "IBAN_CODE",
        r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4}(?: ?(?=[A-Z]{0,3}\d)[A-Z0-9]{1,4}){2,7}\b",
        is_iban,
    ),
    _of("CREDIT_CARD", rf"{_NOT_IN_A_NUMBER}[3-6](?:[ -]?\d){{12,18}}{_NUMBER_ENDS}", is_card),
    _of("IP_ADDRESS", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", is_address),
    _of(
        "IP_ADDRESS", r"(?<![\w:])[0-9a-f:]{2,39}(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])", is_address
    ),
    _of("US_SSN", r"(?<![\w-])\d{3}[ -]\d{2}[ -]\d{4}(?![\w-])", is_social_security),
    _of("UK_NINO", r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b"),
    _of("ES_NIF", r"\b(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]\b", is_nif),
    _of("IT_FISCAL_CODE", r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b"),
    _of("SG_NRIC_FIN", r"\b[STFGM]\d{7}[A-Z]\b", is_nric),
    _of("PL_PESEL", r"(?<![\w.,+-])\d{11}(?!\w)", is_pesel),
    _of(
        "VN_NATIONAL_ID",
        rf"{_NOT_IN_A_NUMBER}0\d{{2}}(?:{_GAP}\d){{9}}{_NUMBER_ENDS}",
        is_vietnamese,
    ),
    _of(
        # The identity cards until 2021 have nine digits and nothing to check.
        "VN_NATIONAL_ID",
        r"(?<=cmnd )\d{9}\b|(?<=cmnd: )\d{9}\b|(?<=cmt )\d{9}\b|(?<=cccd )\d{9}\b"
        r"|(?<=chứng minh nhân dân )\d{9}\b|(?<=căn cước )\d{9}\b|(?<=chứng minh thư )\d{9}\b",
    ),
    _of("UK_NHS", r"(?<![\w.,+-])\d{3}[ -]\d{3}[ -]\d{4}(?!\w)", is_nhs),
    _of(
        "IN_AADHAAR",
        rf"{_NOT_IN_A_NUMBER}[2-9]\d{{3}}([ -]?)\d{{4}}\1\d{{4}}{_NUMBER_ENDS}",
        is_aadhaar,
    ),
    _of(
        "PHONE_NUMBER",
        r"(?<![\w+.,])(?:\+|00)[1-9]\d{0,2}(?:[ \u00a0./-]?(?:\(\d{1,4}\)|\d)){6,13}"
        rf"{_NUMBER_ENDS}",
        _is_phone,
    ),
    _of(
        # Vietnam's mobile numbers (Decision 798/QD-BTTTT) and its land lines.
        "PHONE_NUMBER",
        rf"{_NOT_IN_A_NUMBER}(?:84{_GAP}|\(?0)(?:3|5|7|8|9|2\d)\)?(?:{_GAP}\d){{8}}{_NUMBER_ENDS}",
        _is_phone,
    ),
    _of(
        "PHONE_NUMBER",
        rf"(?<![\w.,+])\(?0\d{{1,4}}\)?(?:[ \u00a0./-]?\d){{6,9}}{_NUMBER_ENDS}",
        _is_phone,
    ),
    _of(
        "PHONE_NUMBER",
        rf"{_NOT_IN_A_NUMBER}(?:1[ .-])?(?:\([2-9]\d{{2}}\) ?|[2-9]\d{{2}}[ .-])"
        rf"[2-9]\d{{2}}[ .-]\d{{4}}{_NUMBER_ENDS}",
        _is_phone,
    ),
)
"""Earlier ones win where two overlap."""
