"""Parts sessions by the last digits of their names, in words that any gateway understands.

A session named by a UUID (RFC 9562) of version 3, 4, 5 or 7 ends in 48 bits that are random or
hashed, so its last three hexadecimal digits are uniform over 4,096 buckets. A regular expression
that matches one range of buckets gives a release a share of the sessions, exact to half a bucket,
without state and without a filter of ours. Versions 1, 2 and 6 end in the address of a machine
and version 8 in whatever its maker likes: these do not match, nor does any other name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from canary.ports import Share

SESSION_HEADER = "x-session-id"
BUCKETS = 4096
_DIGITS = "0123456789abcdef"
_ANY = "[0-9a-f]"
_HEAD = f"{_ANY}{{8}}-?{_ANY}{{4}}-?[3457]{_ANY}{{3}}-?{_ANY}{{4}}-?{_ANY}{{9}}"
"""All of a UUID but its last three digits; with and without dashes."""
_PATTERN = re.compile(f"{_HEAD}{_ANY}{{3}}", re.IGNORECASE)


def bucket_of(session: str) -> int | None:
    """The bucket of a session, 0 to 4095; None for a name that has none and does not stick."""
    return int(session[-3:], 16) if _PATTERN.fullmatch(session) else None


def probe_session(bucket: int) -> str:
    """A session of that bucket for those who only look; the same for the same bucket."""
    return f"00000000-0000-4000-8000-000000000{bucket:03x}"


def bucket_ranges(shares: Sequence[Share]) -> dict[int, tuple[int, int]]:
    """By release its buckets [start, end), without those that have none.

    The last share begins at 0, and each boundary is the sum of the weights up to it. So a
    candidate, which stands last, only ever gains sessions while its weight grows.
    """
    found, reached = {}, 0
    for share in reversed(shares):
        start, reached = reached, reached + share.weight
        first, end = _boundary(start), _boundary(reached)
        if first < end:
            found[share.release] = (first, end)
    return found


def session_pattern(start: int, end: int) -> str:
    """An RE2 expression that matches, whole, the sessions of the buckets [start, end).

    Raises ValueError when the range is empty or leaves 0 to 4096.
    """
    if not 0 <= start < end <= BUCKETS:
        raise ValueError(f"no buckets in [{start}, {end})")
    tails = "|".join(_spans(start, end, 3))
    return f"(?i){_HEAD}(?:{tails})"


def _boundary(weight: int) -> int:
    """The bucket below which `weight` percent of all buckets lie, rounded half up."""
    return (weight * BUCKETS + 50) // 100


def _spans(start: int, end: int, digits: int) -> Iterator[str]:
    """Expressions for the numbers [start, end) of so many digits, from which none is left out.

    A run of whole blocks shares one expression; what is cut at either end goes a digit deeper.
    """
    block = 16 ** (digits - 1)
    rest = _repeated(digits - 1)
    first_whole, last_whole = -(-start // block), end // block
    if first_whole > last_whole:  # within one block, and cut at both ends
        digit = start // block
        inner = "|".join(_spans(start - digit * block, end - digit * block, digits - 1))
        yield f"{_DIGITS[digit]}{_grouped(inner)}"
        return
    if start % block:
        digit = start // block
        inner = "|".join(_spans(start - digit * block, block, digits - 1))
        yield f"{_DIGITS[digit]}{_grouped(inner)}"
    if first_whole < last_whole:
        yield f"{_class(first_whole, last_whole)}{rest}"
    if end % block:
        inner = "|".join(_spans(0, end - last_whole * block, digits - 1))
        yield f"{_DIGITS[last_whole]}{_grouped(inner)}"


def _class(first: int, end: int) -> str:
    """The digits [first, end) as a character class; Gateway API and RE2 read it alike."""
    digits = _DIGITS[first:end]
    if len(digits) == 1:
        return digits
    numbers = [one for one in digits if one.isdigit()]
    letters = [one for one in digits if one.isalpha()]
    return f"[{_range(numbers)}{_range(letters)}]"


def _range(digits: Sequence[str]) -> str:
    if len(digits) < 3:
        return "".join(digits)
    return f"{digits[0]}-{digits[-1]}"


def _repeated(digits: int) -> str:
    return {0: "", 1: _ANY}.get(digits, f"{_ANY}{{{digits}}}")


def _grouped(inner: str) -> str:
    return f"(?:{inner})" if "|" in inner else inner
