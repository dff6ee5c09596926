"""Settings files: TOML read once and checked by a pydantic model, every mistake one line.

The line names the file, the line in it, the key, what was found and what would be allowed.
Nothing here writes a file or knows what a key means.
"""

from __future__ import annotations

import os
import re
import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    Model = TypeVar("Model", bound=BaseModel)
else:
    Model = TypeVar("Model")

MAX_FILE_BYTES = 1 << 20
"""A settings file is written by a person; anything larger is some other file."""

Key = tuple[int | str, ...]
"""Where a value stands: names of tables and keys, numbers of array items."""


def load_toml(path: Path, model_class: type[Model]) -> Model:
    """The file at `path`, checked by `model_class`.

    A model class of pydantic-settings may take values from environment variables as well; a
    mistake in one of those names the variable. Raises UserError for a file that cannot be read,
    is not TOML, or that the model refuses.
    """
    from pydantic import ValidationError

    text = _read(path)
    data = _parse(path, text)
    try:
        return model_class.model_validate(data)
    except ValidationError as error:
        _refuse(path, text, model_class, error)
    except ValueError as error:  # pydantic-settings: a variable that should hold JSON does not
        raise UserError(str(error), where=str(path), remedy="correct the variable") from error


def line_of(text: str, key: Key) -> int:
    """The line, from 1, on which the statement that makes `key` begins in the TOML `text`.

    For a key that is not there, the line of the table it is missing from; 1 for the file itself.
    """
    lines = text.splitlines(keepends=True)
    for length in range(len(key), 0, -1):
        found = _first_line(lines, key[:length])
        if found is not None:
            return found
    return 1


def _first_line(lines: list[str], key: Key) -> int | None:
    """Grow the file line by line until its parse holds `key`: TOML's own parser is the judge."""
    statement = 0
    for count in range(1, len(lines) + 1):
        try:
            data = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue  # inside a value of several lines
        if _holds(data, key):
            return _skip_comments(lines, statement) + 1
        statement = count
    return None


def _skip_comments(lines: list[str], start: int) -> int:
    while re.match(r"\s*(#|$)", lines[start]):
        start += 1
    return start


def _holds(data: Any, key: Key) -> bool:
    for part in key:
        if isinstance(data, list):
            if not isinstance(part, int) or part >= len(data):
                return False
        elif not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=str(path)) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError("is larger than 1 MiB, so no settings file", where=str(path))
    try:
        # TOML allows both line ends; the parser reads only one of them.
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            "is not UTF-8", where=f"{path}:{line}", remedy="save it as UTF-8"
        ) from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        line = found.group(1) if found else None
        what = str(error)[: found.start()] if found else str(error)
        raise UserError(
            f"is not TOML: {what[:1].lower()}{what[1:]}",
            where=f"{path}:{line or len(text.splitlines()) or 1}",
        ) from error


def _refuse(
    path: Path, text: str, model_class: type[BaseModel], error: ValidationError
) -> NoReturn:
    """Raise the mistake that stands first in the file, and say how many there are."""
    schema = _schema(model_class)
    mistakes = [
        _mistake(path, text, model_class, schema, details)
        for details in error.errors(include_url=False)
    ]
    mistakes.sort(key=lambda mistake: mistake[0])
    _, first = mistakes[0]
    if len(mistakes) > 1:
        first = UserError(
            f"{first.what} (1 of {len(mistakes)} mistakes)", where=first.where, remedy=first.remedy
        )
    raise first from error


def _mistake(
    path: Path,
    text: str,
    model_class: type[BaseModel],
    schema: dict[str, Any],
    details: ErrorDetails,
) -> tuple[int, UserError]:
    key = tuple(part for part in details["loc"] if not (isinstance(part, str) and "[" in part))
    variable = _variable(model_class, key)
    line = line_of(text, key)
    where = f"environment variable {variable}" if variable else f"{path}:{line}"
    return line, UserError(_what(details, key), where=where, remedy=_remedy(details, key, schema))


def _variable(model_class: type[BaseModel], key: Key) -> str | None:
    """The environment variable that gave the value at `key`, when one did."""
    prefix = str(model_class.model_config.get("env_prefix", ""))
    delimiter = model_class.model_config.get("env_nested_delimiter")
    if not delimiter:
        return None
    wanted = (prefix + str(delimiter).join(map(str, key))).upper()
    return next((name for name in os.environ if name.upper() == wanted), None)


def _what(details: ErrorDetails, key: Key) -> str:
    name = _dotted(key)
    if details["type"] == "extra_forbidden":
        return f"unknown key {name}"
    if details["type"] == "missing":
        return f"{name} is missing"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = re.sub(r"^Input should", "should", message)
    if details["type"] in {"value_error", "assertion_error"}:
        return f"{name}: {message}" if name else message
    return f"{name} {message[:1].lower()}{message[1:]}, not {_shown(details['input'])}".strip()


def _dotted(key: Key) -> str:
    """`steps.2.weight` for ("steps", 1, "weight"): people count items from 1."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _remedy(details: ErrorDetails, key: Key, schema: dict[str, Any]) -> str:
    if details["type"] == "extra_forbidden":
        allowed = sorted(_at(schema, key[:-1]).get("properties", {}))
        close = get_close_matches(str(key[-1]), allowed, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"{guess}allowed here: {', '.join(allowed)}" if allowed else "remove it"
    described = _described(_at(schema, key), schema)
    if details["type"] == "missing":
        return f"add it ({described})" if described else "add it"
    return f"allowed: {described}" if described else ""


def _schema(model_class: type[BaseModel]) -> dict[str, Any]:
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        return model_class.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}  # a model with a type that JSON schema cannot say: errors without advice


def _at(schema: dict[str, Any], key: Key) -> dict[str, Any]:
    """The part of the JSON schema that speaks of `key`; empty when it does not say."""
    node = schema
    for part in key:
        node = _step(_resolved(node, schema), part, schema)
    return _resolved(node, schema)


def _step(node: dict[str, Any], part: int | str, schema: dict[str, Any]) -> dict[str, Any]:
    for option in [node, *(_resolved(option, schema) for option in node.get("anyOf", ()))]:
        if isinstance(part, int):
            found = option.get("items")
        else:
            found = option.get("properties", {}).get(part, option.get("additionalProperties"))
        if isinstance(found, dict):
            return found
    return {}


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: dict[str, Any] = schema.get("$defs", {}).get(reference.rsplit("/", 1)[-1], {})
    return found


_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matching {}"),
)


def _described(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """The allowed values in words: `integer, at least 0, at most 65535`, or a list of them."""
    if "anyOf" in node:
        options = [_described(_resolved(option, schema), schema) for option in node["anyOf"]]
        return " or ".join(option for option in options if option)
    if "enum" in node:
        return ", ".join(repr(value) for value in node["enum"])
    if "const" in node:
        return repr(node["const"])
    kind = {"object": "table", "null": ""}.get(node.get("type", ""), node.get("type", ""))
    bounds = [words.format(node[name]) for name, words in _BOUNDS if name in node]
    return ", ".join([kind, *bounds]) if kind else ""
