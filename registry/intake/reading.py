"""What a reader says of a file that it claims: its format, and what it needs of its neighbours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `begin` to `end` of the file `path`, relative to the folder of the file that says so.

    `tensor` names what lies there.
    """

    path: str
    begin: int
    end: int
    tensor: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A file is a whole `format`; its weights lie in `parts`, and it needs the files `beside`."""

    format: str
    parts: tuple[Part, ...] = ()
    beside: tuple[str, ...] = ()
