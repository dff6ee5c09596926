"""Which objects a Keras configuration may name: Keras's own by their own names, none with code.

Keras imports what a configuration names. Only classes in Keras's own modules of layers and of
values are let through; functions by name, registered objects and layers that carry code are not.
Which layers a kind can serve is the kind's own question.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE = {
    "Lambda": "holds a Lambda layer, which runs code of the file's own",
    "TFSMLayer": "holds a TFSMLayer, which runs a graph from another folder",
    "__lambda__": "holds a Python function as bytes",
    "TorchModuleWrapper": "holds a TorchModuleWrapper, which opens a pickle",
    "JaxLayer": "holds a JaxLayer, which runs code of the user's own",
    "FlaxLayer": "holds a FlaxLayer, which runs code of the user's own",
    "StringLookup": "holds a StringLookup, which may read a file of the server's",
    "IntegerLookup": "holds an IntegerLookup, which may read a file of the server's",
    "TextVectorization": "holds a TextVectorization, which may read a file of the server's",
}
"""Classes that no configuration may hold, each with what is said of it."""

_MODULES = re.compile(
    r"(?:tf_keras|tensorflow\.keras|keras)(?:\.src)?(?:\.(?:api|engine|legacy))?"
    r"(?:\.(?:layers|models|initializers|regularizers|constraints|dtype_policies|optimizers|"
    r"losses|metrics|activations|engine|random|mixed_precision)(?:\.\w+)*|"
    r"\.(?:functional|sequential|training|base_layer))?"
)
_PLAIN = frozenset({"__keras_tensor__", "__tuple__", "__tensor__", "__numpy__", "NoneType"})
_NAMES = ("function", "dtype", "slice", "ellipsis", "builtin")


def object_fault(value: Mapping[str, Any]) -> str:
    """Why one object, a dict with `class_name`, is refused; "" for a sound one."""
    name, module = value.get("class_name"), value.get("module")
    registered = value.get("registered_name")
    if not isinstance(name, str) or not isinstance(registered, str | None):
        return "names a class by something that is no text"
    if name in _PLAIN:
        return ""
    if name in _NAMES:
        function = value.get("config")
        shown = function if isinstance(function, str) else registered
        return f"names a Python function or value to import ({module}.{shown})"
    faults = {
        CODE.get(name, ""): name in CODE,
        f"holds a custom object {registered or name!r}": ">" in name
        or registered not in {None, name},
        f"takes {name!r} from the module {module!r}": module is not None
        and not (isinstance(module, str) and _is_keras(module)),
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def _is_keras(module: str) -> bool:
    return not module or bool(_MODULES.fullmatch(module))
