"""The JSON of a Keras model, judged before Keras sees it: every object must be Keras's own."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from registry.intake.json_values import walk
from registry.intake.keras_objects import object_fault

if TYPE_CHECKING:
    from registry.intake.source import Source

_REMEDY = "build the model of Keras's own layers and save it"
_MODELS = frozenset({"Functional", "Sequential", "Model"})
_FUNCTIONS = frozenset({"activation", "recurrent_activation"})


def check_keras_config(source: Source, config: Any) -> None:
    """Raises UserError that names the first object that is code, custom or another module's.

    What it was compiled with may name a loss of the user's own, which Keras finds nowhere unless
    it is handed one; everything else is judged there as well, since others may load it compiled.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise source.refused("its configuration describes no Keras model", _REMEDY)
    if config["class_name"] not in _MODELS:
        raise source.refused(
            f"is a {config['class_name']!r}, not a Functional or Sequential model", _REMEDY
        )
    built = {key: part for key, part in config.items() if key != "compile_config"}
    for key, value, _ in walk(built):
        if isinstance(value, str) and key in _FUNCTIONS and ">" in value:
            raise source.refused(f"holds a custom object {value!r} ({key})", _REMEDY)
        _check(source, value)
    for _, value, _ in walk(config.get("compile_config")):
        if not _is_own_function(value):
            _check(source, value)


def _check(source: Source, value: Any) -> None:
    if isinstance(value, dict) and "class_name" in value and (fault := object_fault(value)):
        raise source.refused(fault, _REMEDY)


def _is_own_function(value: Any) -> bool:
    """Whether Keras wrote this for a function of the user's script, by a name that imports none."""
    return (
        isinstance(value, dict)
        and value.get("class_name") == "function"
        and value.get("module") in {None, "builtins"}
        and isinstance(value.get("config"), str)
        and not hasattr(builtins, value["config"])
    )
