"""Imports that take seconds, begun in a thread while an engine works.

Two threads must not import one package at a time: Python resolves the deadlock by showing a
half-made module. So whoever needs a prefetched module calls `prefetched` first.
"""

from __future__ import annotations

import importlib
import threading

from registry.quiet import silence

_threads: list[threading.Thread] = []


def prefetch(*modules: str) -> None:
    """Begin importing `modules` in the background, one after the other.

    A module that does not import says so to the one who really imports it.
    """
    silence()
    thread = threading.Thread(target=_import, args=(modules,), daemon=True, name="prefetch")
    _threads.append(thread)
    thread.start()


def prefetched() -> None:
    """Wait until nothing is being imported in the background."""
    while _threads:
        _threads[-1].join()
        _threads.pop()


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            return
