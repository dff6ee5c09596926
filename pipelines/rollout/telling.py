"""What a person who waits for a rollout is told: one line for each thing that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.decisions import BY_A_PERSON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal import Entry


def told(entry: Entry) -> str:
    """A line for people, empty for entries that only machines need."""
    tell = _LINES.get(entry.kind)
    return tell(entry.body) if tell else ""


def _decided(body: Mapping[str, Any]) -> str:
    if body["decision"] != "hold":
        return f"{body['decision']}: {body['reason']}"
    return f"waiting: {body['reason']}" if body["rule"] == BY_A_PERSON else ""


def _effect_started(body: Mapping[str, Any]) -> str:
    release = body["arguments"].get("release")
    verb = {"StartRevision": "loading", "AdmitRevision": "checking", "StopRevision": "stopping"}
    return f"{verb[body['name']]} release {release}" if body["name"] in verb else ""


def _routed(body: Mapping[str, Any]) -> str:
    observed = body["observed"]
    shares, mirror = observed.get("shares"), observed.get("mirror")
    parts = [f"release {release} gets {weight} %" for release, weight in shares or ()]
    if mirror is not None:
        parts.append(f"release {mirror[0]} gets copies of {mirror[1]} %")
    return ", ".join(parts)


_LINES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "decided": _decided,
    "effect-started": _effect_started,
    "effect-confirmed": _routed,
    "effect-failed": lambda body: f"failed: {body['reason']}",
    "rollback-requested": lambda body: f"going back to release {body['to']}: {body['reason']}",
    "skip-requested": lambda body: f"skipping a step: {body['reason']}",
    "pause-requested": lambda body: f"pausing: {body['reason']}",
    "rollout-ended": lambda body: f"rollout {body['outcome']}",
}
