"""Writes docs/reference.md from the commands and settings: `python -m cli.reference`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
HEADER = "# Reference\n\nMade from the code by `python -m cli.reference`; do not edit.\n"


def reference() -> str:
    """The whole page, Markdown."""
    from pipelines.model_config import ModelConfig
    from registry.settings import WorkspaceSettings

    parts = [HEADER, "## Commands\n", *_commands()]
    parts += ["## sluice.toml\n", *_tables(WorkspaceSettings)]
    parts += ["## models/NAME.toml\n", *_tables(ModelConfig)]
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    yield from _group("", get_command(app))


def _group(path: str, group: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield f"### {path}{name}\n\n{inspect.cleandoc(command.help or '')}\n"
            yield from _group(f"{path}{name} ", command)
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["sluice", path + name, *(_metavar(p) for p in arguments)])
        yield f"### {path}{name}\n\n`{usage}`\n\n{inspect.cleandoc(command.help or '')}\n"
        rows = [f"| `{', '.join(p.opts)}` | {p.help or ''} |" for p in options if not p.hidden]
        if rows:
            yield "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n"


def _metavar(parameter: Any) -> str:
    shown = str(parameter.metavar or parameter.name.upper())
    return shown if parameter.required or shown.startswith("[") else f"[{shown}]"


def _tables(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield from _table("", schema, schema)


def _table(path: str, node: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    rows, nested = [], []
    for name, field in node.get("properties", {}).items():
        resolved = _resolve(field, schema)
        if "properties" in resolved:
            nested.append((f"{path}.{name}".lstrip("."), resolved))
            continue
        default = field.get("default", "required" if name in node.get("required", []) else "")
        rows.append(f"| `{name}` | {_type(resolved)} | `{default}` |")
    if rows:
        title = f"`[{path}]`" if path else "Top level"
        yield "\n".join([f"{title}\n", "| key | value | default |", "|---|---|---|", *rows]) + "\n"
    for name, resolved in nested:
        yield from _table(name, resolved, schema)


def _resolve(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    options = [field, *field.get("allOf", ()), *field.get("anyOf", ())]
    for option in options:
        if reference_ := option.get("$ref"):
            return dict(schema["$defs"][reference_.rsplit("/", 1)[-1]])
    return field


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f'"{field["const"]}"'
    if "enum" in field:
        return ", ".join(f'"{value}"' for value in field["enum"])
    kinds = [option.get("type", "") for option in field.get("anyOf", [field])]
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{words} {field[key]:g}" for key, words in bounds.items() if key in field]
    return ", ".join([" or ".join(filter(None, kinds)), *limits])


if __name__ == "__main__":
    TARGET.write_text(reference())
