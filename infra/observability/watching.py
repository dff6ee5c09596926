"""Switches traces and JSON logs on for one process, where its workspace or environment asks for it.

Standard library only until something is asked for, because every command passes here. Sending
and printing are the modules' beside this one.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from registry.errors import SluiceError
from registry.spans import is_watched, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.workspace import Workspace

_TRACES_PATH = "/v1/traces"


def traces_endpoint(workspace: Workspace | None) -> str:
    """The whole address that spans are posted to; empty: nowhere.

    The standard variables come first, then `[tracing] endpoint`, which its own variable overrides.
    (opentelemetry.io/docs/specs/otel/protocol/exporter)
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    if whole := os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip():
        return whole
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    base = base or _said(workspace, "tracing_endpoint")
    return base.rstrip("/") + _TRACES_PATH if base else ""


def wants_json_logs(workspace: Workspace | None) -> bool:
    """Whether what happens is printed as one JSON object a line."""
    return (os.environ.get("SLUICE_LOG") or _said(workspace, "log_format")) == "json"


def _said(workspace: Workspace | None, name: str) -> str:
    """What the workspace says; a file that cannot be read is for those to tell who need it."""
    try:
        return str(getattr(workspace, name)) if workspace is not None else ""
    except SluiceError:
        return ""


@contextmanager
def observed(command: str, workspace: Workspace | None) -> Iterator[None]:
    """The block as a trace of `sluice COMMAND`, where somebody wants to see it.

    It goes on with the trace that `TRACEPARENT` names, as a CI system may set it.
    """
    with ExitStack() as stack:
        _switch_on(stack, workspace)
        if not is_watched():
            yield
            return
        parent = os.environ.get("TRACEPARENT", "")
        stack.enter_context(span(f"sluice {command}", parent=parent, command=command))
        yield


def observe_process(workspace: Workspace) -> None:
    """Switch on, until the end of the process, for one that no command of ours began."""
    if is_watched() or not (traces_endpoint(workspace) or wants_json_logs(workspace)):
        return
    stack = ExitStack()
    _switch_on(stack, workspace)
    atexit.register(stack.close)


def failure_line(error: BaseException) -> str:
    """The one line about a command that failed, as a person or as a machine reads it."""
    word = str(error) if isinstance(error, SluiceError) else type(error).__name__
    if wants_json_logs(None) or _is_json:
        from infra.observability.logs import line_of

        return line_of("command-failed", level="error", error=word)
    return f"error: {error}"


_is_json = False
"""Whether this process printed JSON: its last line must be JSON too."""


def _switch_on(stack: ExitStack, workspace: Workspace | None) -> None:
    global _is_json  # noqa: PLW0603 - one process, one way of printing
    if endpoint := traces_endpoint(workspace):
        from infra.observability.tracing import sending

        stack.enter_context(sending(endpoint))
    if wants_json_logs(workspace):
        from infra.observability.logs import printing

        _is_json = True
        stack.enter_context(printing())


def prints_json() -> bool:
    """Whether words for people are to be left to the JSON lines."""
    return _is_json
