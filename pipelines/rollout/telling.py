"""What a person who waits for a rollout is told: one line for each thing that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal import Entry


def told(entry: Entry) -> str:
    """A line for people, empty for entries that only machines need."""
    tell = _LINES.get(entry.kind)
    return tell(entry.body) if tell else ""


def _decided(body: Mapping[str, Any]) -> str:
    return "" if body["decision"] == "hold" else f"{body['decision']}: {body['reason']}"


def _effect_started(body: Mapping[str, Any]) -> str:
    release = body["arguments"].get("release")
    verb = {"StartRevision": "loading", "AdmitRevision": "checking", "StopRevision": "stopping"}
    return f"{verb[body['name']]} release {release}" if body["name"] in verb else ""


def _routed(body: Mapping[str, Any]) -> str:
    shares = body["observed"].get("shares")
    parts = [f"release {release} gets {weight} %" for release, weight in shares or ()]
    return ", ".join(parts)


_LINES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "decided": _decided,
    "effect-started": _effect_started,
    "effect-confirmed": _routed,
    "effect-failed": lambda body: f"failed: {body['reason']}",
    "rollback-requested": lambda body: f"going back to release {body['to']}: {body['reason']}",
    "pause-requested": lambda body: f"pausing: {body['reason']}",
    "rollout-ended": lambda body: f"rollout {body['outcome']}",
}
