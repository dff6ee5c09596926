"""JSON from outside: one reading only, bounded in size and depth, and no code named in it.

Two programs that read one file must see one value, so repeated keys are refused. What Transformers,
Keras, Hydra and jsonpickle would turn into code is refused wherever in the file it stands.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from registry.intake.keras_objects import CODE
from registry.intake.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.intake.source import Source

MAX_BYTES = 64 * 1024**2
_DEEPEST = 64
_NESTING = frozenset({dict, list})
_MOST_VALUES = 8_000_000
_TEMPLATE_CODE = re.compile(
    r"__\w+__|\|\s*attr\b|\\x5f|\\u005f|\{%-?\s*(?:import|from|include|extends)\b"
)
_CALLS = {
    "auto_map": "asks for code of its own (auto_map)",
    "custom_pipelines": "asks for code of its own (custom_pipelines)",
    "_target_": "names a Python object to call (_target_)",
    "py/object": "names a Python object to make (jsonpickle)",
    "py/reduce": "names a Python object to make (jsonpickle)",
}
_WATCHED = frozenset({*_CALLS, "trust_remote_code", "class_name", "chat_template"})


def parse(source: Source, content: bytes, *, limit: int = MAX_BYTES, part: str = "") -> Any:
    """The value of UTF-8 JSON, with or without a byte order mark.

    `part` names what of the file it is ("its header "). Raises UserError when there
    are more than `limit` bytes, a repeated key, or no JSON.
    """
    if len(content) > limit:
        raise source.refused(f"{part}is larger than {limit >> 20} MiB, too large for JSON")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise source.refused(f"{part}holds more values than any model's JSON")
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
    except RecursionError as error:
        raise source.refused(f"{part}is nested too deeply") from error
    except ValueError as error:
        raise source.refused(f"{part}is not JSON: {error}", "copy the file again") from error
    if _depth(value) > _DEEPEST:
        raise source.refused(f"{part}is nested too deeply")
    return value


def walk(value: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value in `value` with its key ("" in a list) and its depth."""
    yield "", value, 0
    waiting = [(value, 1)]
    while waiting:
        current, depth = waiting.pop()
        if isinstance(current, dict):
            for key, inner in current.items():
                yield key, inner, depth
        elif isinstance(current, list):
            for inner in current:
                yield "", inner, depth
        waiting += [(inner, depth + 1) for inner in _containers(current)]


def _containers(value: Any) -> list[Any]:
    """Objects and lists in an object or a list; a vocabulary has none among its many values."""
    values = value.values() if isinstance(value, dict) else value
    return [one for one in values if type(one) in _NESTING] if type(value) in _NESTING else []


def _depth(value: Any) -> int:
    """Levels of objects and lists, no more than one over those allowed."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        level = [inner for one in level for inner in _containers(one)]
        depth += 1
    return depth


def read_json(source: Source) -> Reading:
    """Claim a JSON file. Raises UserError when it names code, or is no object and no list."""
    value = parse(source, source.whole(MAX_BYTES, "JSON"))
    if not isinstance(value, (dict, list)):
        raise source.refused("is neither a JSON object nor a list", "copy the file again")
    check_no_code(source, value)
    if source.name.endswith(".index.json"):
        return Reading("index", beside=_shards(source, value))
    return Reading("tokenizer" if source.name == "tokenizer.json" else "json")


def check_no_code(source: Source, value: Any) -> None:
    """Refuse a configuration that names code anywhere. Raises UserError."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            for key in _WATCHED & current.keys():
                _check_key(source, key, current[key])
        waiting += _containers(current)


def _check_key(source: Source, key: str, value: Any) -> None:
    """Refuse what a loader would make code of under this key."""
    is_filled = isinstance(value, (dict, list, str)) and bool(value)
    if key in _CALLS and is_filled:
        raise source.refused(_CALLS[key], "remove that key")
    if key == "trust_remote_code" and value is True:
        raise source.refused("asks to trust remote code", "remove trust_remote_code")
    if key == "class_name" and isinstance(value, str) and value in CODE:
        raise source.refused(CODE[value], "build the model of Keras's own layers")
    if key == "chat_template":
        for _, text, _ in walk(value):
            check_template(source, text)


def check_template(source: Source, text: Any) -> None:
    """Refuse a chat template that reaches for Python's insides or for other files."""
    if isinstance(text, str) and (found := _TEMPLATE_CODE.search(text)):
        raise source.refused(
            f"has a chat template that reaches for more than its messages ({found.group()!r})",
            "write the template without it",
        )


def _shards(source: Source, value: Any) -> tuple[str, ...]:
    placed = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(one, str) for one in placed.values()):
        raise source.refused("is an index without a weight_map of files", "copy the file again")
    return tuple(sorted(set(placed.values())))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {repeated!r} twice")
    return value
