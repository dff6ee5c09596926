"""Makes the Helm chart of the Kustomize base, so that there is one source and no second opinion.

`python -m infra.kubernetes.chart_source` writes `chart/values.yaml` and `chart/templates/`; the
bytes depend on the manifests and on `chart_values.py` alone. It asks no cluster and no Helm.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped] # ships no types

from infra.kubernetes.chart_values import (
    CONDITIONS,
    DEFAULTS,
    LEAVES,
    NAMESPACE,
    NAMESPACE_PATHS,
    REPEATED,
    WHOLE_SCALARS,
    Leaf,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent
CHART = FOLDER / "chart"
_SOURCES = ("postgresql/postgresql.yaml", "drift-watch/drift-watch.yaml", "overlays/gpu/quota.yaml")
_HEADER = "# Made by `python -m infra.kubernetes.chart_source` of {source}; change that.\n"
_OPTIONAL = re.compile(r"^( *)([^\s:]+): '?@@optional:([\w.]+)@@'?$", re.MULTILINE)
_VALUE = re.compile(r"'?@@value:([\w.]+)@@'?")


def sources() -> tuple[Path, ...]:
    """The manifests: those of the base in its own order, then what overlays may add."""
    listed = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_bytes())["resources"]
    return (*(FOLDER / "base" / name for name in listed), *(FOLDER / name for name in _SOURCES))


def chart() -> dict[str, str]:
    """The chart's made files: path below the chart, and content."""
    values: dict[str, Any] = {}
    made = {f"templates/{path.name}": _template(path, values) for path in sources()}
    for name, default in DEFAULTS.items():
        _put(values, name, default)
    head = _HEADER.format(source="the manifests beside it")
    note = "# What is null or empty is left out. Secrets are named, never given: see the docs.\n"
    return {"values.yaml": head + note + _dump(values), **made}


def write() -> tuple[Path, ...]:
    """Write the made files, remove templates that nothing makes any more; returns the written."""
    made = chart()
    for old in (CHART / "templates").glob("*.yaml"):
        if f"templates/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        (CHART / name).write_text(text)
    return tuple(CHART / name for name in made)


def _template(path: Path, values: dict[str, Any]) -> str:
    texts = [_document(one, values) for one in yaml.safe_load_all(path.read_bytes())]
    return _HEADER.format(source=path.relative_to(FOLDER).as_posix()) + "".join(texts)


def _document(manifest: dict[str, Any], values: dict[str, Any]) -> str:
    """One object as a template; its leaves' contents become defaults in `values`."""
    target = f"{manifest['kind']}/{manifest['metadata']['name']}"
    for leaf in LEAVES:
        if leaf.target == target:
            _take(manifest, leaf, values)
    _take_scalars(manifest, values)
    if manifest["kind"] == "Namespace":
        manifest["metadata"]["name"] = _token(NAMESPACE)
    text = _dump(manifest)
    text = _OPTIONAL.sub(
        r"\1{{- if $.Values.\3 }}\n\1\2: {{ toJson $.Values.\3 }}\n\1{{- end }}", text
    )
    text = "---\n" + _VALUE.sub(r"{{ toJson $.Values.\1 }}", text)
    if condition := CONDITIONS.get(target):
        return f"{{{{- if $.Values.{condition} }}}}\n{text}{{{{- end }}}}\n"
    if target in REPEATED:
        items, item = REPEATED[target]
        text = text.replace(item, "{{ . }}")
        return f"{{{{- range $.Values.{items} }}}}\n{text}{{{{- end }}}}\n"
    return text


def _take(manifest: dict[str, Any], leaf: Leaf, values: dict[str, Any]) -> None:
    holder: Any = manifest
    for step in leaf.path[:-1]:
        holder = holder[step]
    last = leaf.path[-1]
    if leaf.optional:
        if last in holder:
            raise ValueError(f"{leaf.target} has {leaf.path}: it is not optional")
        holder[last] = f"@@optional:{leaf.value}@@"
        _put(values, leaf.value, None)
    else:
        _put(values, leaf.value, holder[last])
        holder[last] = _token(leaf.value)


def _take_scalars(manifest: dict[str, Any], values: dict[str, Any]) -> None:
    """Replace images and the namespace, wherever they stand."""
    for holder, key in list(_scalars(manifest)):
        content = holder[key]
        if content in WHOLE_SCALARS:
            name = WHOLE_SCALARS[content]
        elif key in NAMESPACE_PATHS or (
            key == "value" and isinstance(holder, dict) and holder.get("name") in NAMESPACE_PATHS
        ):
            name = NAMESPACE
        else:
            continue
        _put(values, name, content)
        holder[key] = _token(name)


def _scalars(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) whose content is text."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, content in items:
        if isinstance(content, str):
            yield node, key
        elif isinstance(content, dict | list):
            yield from _scalars(content)


def _token(value: str) -> str:
    return f"@@value:{value}@@"


def _put(values: dict[str, Any], name: str, default: object) -> None:
    *above, last = name.split(".")
    for step in above:
        values = values.setdefault(step, {})
    values[last] = default


class _Dumper(yaml.SafeDumper):  # type: ignore[misc] # as above
    """Long text as a block, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML names it
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def _dump(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=4096, allow_unicode=True)
    return text


if __name__ == "__main__":
    sys.stdout.write("\n".join(str(path) for path in write()) + "\n")
