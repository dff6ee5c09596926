"""Whether a line that begins with `sluice` could be typed: its command, arguments and options."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import typer
from typer.main import get_command

from cli.main import app

if TYPE_CHECKING:
    from collections.abc import Sequence

# Typer carries click with it and does not say where.
(UsageError,) = (one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError")


@cache
def _commands() -> Any:
    return get_command(app)


def parse(words: Sequence[str], *, named_only: bool = False) -> Any:
    """The context of a command, all the way down. Raises UsageError for what is wrong with it.

    `named_only`: a command that is only mentioned, without anything after it, may miss arguments.
    """
    command: Any = _commands()
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest and named_only:
            return command
        assert rest, f"`sluice {' '.join(words)}` names no command"
        assert rest[0] in command.commands, f"`sluice {' '.join(words)}`: no {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    return command.make_context("sluice", rest, resilient_parsing=named_only and not rest)


def error_of(words: Sequence[str], *, named_only: bool = False) -> str:
    """What is wrong with a command, in words; empty when it can be typed."""
    try:
        parse(words, named_only=named_only)
    except AssertionError as error:
        return str(error)
    except UsageError as error:
        return str(error)
    return ""
