"""Imports that take seconds, begun in a thread while an engine works."""

from __future__ import annotations

import importlib
import threading

from registry.quiet import silence


def prefetch(*modules: str) -> None:
    """Begin importing `modules` in the background; a later `import` waits for the rest.

    A module that does not import says so to the one who really imports it.
    """
    silence()
    threading.Thread(target=_import, args=(modules,), daemon=True, name="prefetch").start()


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            return
