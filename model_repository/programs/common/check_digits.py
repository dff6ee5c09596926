"""Whether a number that looks like one of somebody's is one: check digits and ranges.

Every function takes the text as it was found, with the spaces and dashes that people write.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from itertools import pairwise

_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
"""Of a Spanish identity number, by its remainder modulo 23."""
_VERHOEFF_STEPS = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def is_card(found: str) -> bool:
    """A payment card's number: 13 to 19 digits whose Luhn sum ends in 0 (ISO/IEC 7812-1)."""
    digits = _digits(found)
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def is_iban(found: str) -> bool:
    """An account's number: the remainder modulo 97 is 1 (ISO 13616)."""
    code = _plain(found).upper()
    if not 15 <= len(code) <= 34:
        return False
    return int("".join(str(int(one, 36)) for one in code[4:] + code[:4])) % 97 == 1


def is_address(found: str) -> bool:
    """An address of the Internet Protocol, version 4 or 6; `::` alone is none of anybody's."""
    try:
        return ip_address(found).compressed not in {"::", "::1"} and len(found) > 4
    except ValueError:
        return False


def is_social_security(found: str) -> bool:
    """A number that the United States give out: no part is zero, the first not 666 or 9xx."""
    area, group, serial = re.split(r"[ -]", found)
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_nif(found: str) -> bool:
    """A Spanish identity number: its letter belongs to its digits."""
    code = _plain(found).upper()
    number = int(code[0].translate(str.maketrans("XYZ", "012")) + code[1:-1])
    return code[-1] == _LETTERS[number % 23]


def is_nric(found: str) -> bool:
    """An identity number of Singapore: the weighted sum gives its last letter."""
    code = found.upper()
    total = sum(int(one) * weight for one, weight in zip(code[1:8], _NRIC_WEIGHTS, strict=True))
    total += {"S": 0, "F": 0, "T": 4, "G": 4, "M": 3}[code[0]]
    rest = total % 11
    return _NRIC_LETTERS[code[0]][10 - rest if code[0] == "M" else rest] == code[-1]


_NRIC_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)
_NRIC_LETTERS = dict.fromkeys("ST", "JZIHGFEDCBA") | dict.fromkeys("FG", "XWUTRQPNMLK")
_NRIC_LETTERS |= {"M": "KLJNPQRTUWX"}


def is_pesel(found: str) -> bool:
    """A Polish register number: a month that may be, and its weighted sum ends in 0."""
    digits = _digits(found)
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    month = (digits[2] * 10 + digits[3]) % 20
    total = sum(digit * weight for digit, weight in zip(digits, weights, strict=True))
    return 1 <= month <= 12 and 1 <= digits[4] * 10 + digits[5] <= 31 and total % 10 == 0


def is_nhs(found: str) -> bool:
    """A British patient's number: weighted sum modulo 11."""
    digits = _digits(found)
    total = sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False))
    return (11 - total % 11) % 11 == digits[9]


def is_aadhaar(found: str) -> bool:
    """An Indian register number: 12 digits with Verhoeff's check."""
    check = 0
    for place, digit in enumerate(reversed(_digits(found))):
        check = _verhoeff(check, int(_VERHOEFF_STEPS[place % 8][digit]))
    return check == 0


def is_vietnamese(found: str) -> bool:
    """A Vietnamese citizen's number (Circular 59/2021/TT-BCA): province, century and sex, year."""
    digits = "".join(map(str, _digits(found)))
    return len(digits) == 12 and 1 <= int(digits[:3]) <= 96 and digits[3] in "0123"


def is_counting(found: str) -> bool:
    """Whether the groups of digits go up or down by one: `01 02 03 04 05`."""
    groups = [int(group) for group in re.findall(r"\d+", found)]
    steps = {second - first for first, second in pairwise(groups)}
    return len(groups) > 2 and steps in ({1}, {-1})


def _verhoeff(left: int, right: int) -> int:
    """The product of two elements of the dihedral group of order ten."""
    if left < 5:
        return (left + right) % 5 + (0 if right < 5 else 5)
    return (left - right) % 5 + (5 if right < 5 else 0)


def _digits(found: str) -> list[int]:
    return [int(character) for character in found if character.isdigit()]


def _plain(found: str) -> str:
    return re.sub(r"[\s.-]", "", found)
