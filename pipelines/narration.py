"""One sentence for each journal entry, for `sluice history` and for the demo's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal import Entry


def sentence(entry: Entry) -> str:
    """What the entry says, in a few words; unknown kinds show their name."""
    tell = _SENTENCES.get(entry.kind)
    return tell(entry.body) if tell else entry.kind


def matters(entry: Entry) -> bool:
    """Whether a person wants to see the entry: not each look, and not each effect."""
    if entry.kind == "decided":
        return bool(entry.body["decision"] != "hold")
    if entry.kind == "notifications-sent":
        return bool(entry.body["failed"])
    return entry.kind not in {"effect-started", "effect-confirmed", "looked", "release-reserved"}


def _registered(body: Mapping[str, Any]) -> str:
    return f"artifact {body['digest'][:12]} registered as version {body['version']}"


def _converted(body: Mapping[str, Any]) -> str:
    return f"{body['variant']} made from {body['artifact'][:12]} ({body['bytes'] / 1e6:.2f} MB)"


def _gated(body: Mapping[str, Any]) -> str:
    wer = body["metrics"].get("wer")
    rate = "" if wer is None else f", WER {wer:.2%}"
    return f"gate: {body['variant']} of {body['artifact'][:12]} {body['verdict'].upper()}{rate}"


def _published(body: Mapping[str, Any]) -> str:
    return f"release {body['release']} published: {body['variant']} {body['variant_digest'][:12]}"


def _rollout_started(body: Mapping[str, Any]) -> str:
    against = f" against {body['baseline']}" if body["baseline"] else ", the first release"
    return f"rollout of release {body['candidate']}{against}"


def _notified(body: Mapping[str, Any]) -> str:
    failed = [f"{one['event']} ({one['reason']})" for one in body["failed"]]
    told = f"webhook told of {len(body['sent'])} events"
    return f"{told}; not of {', '.join(failed)}" if failed else told


def _decided(body: Mapping[str, Any]) -> str:
    return f"decided: {body['decision']}: {body['reason']}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "artifact-registered": _registered,
    "variant-converted": _converted,
    "gate-decided": _gated,
    "release-reserved": lambda body: f"release number {body['release']} reserved",
    "release-published": _published,
    "rollout-started": _rollout_started,
    "effect-started": lambda body: f"effect {body['effect']} {body['name']} begins",
    "effect-confirmed": lambda body: f"effect {body['effect']} confirmed",
    "effect-failed": lambda body: f"effect {body['effect']} failed: {body['reason']}",
    "decided": _decided,
    "step-entered": lambda body: f"step {body['step']}: {body['weight']} % to the candidate",
    "phase-entered": lambda body: f"phase {body['phase']}",
    "rollback-requested": lambda body: f"rollback to {body['to']} asked for: {body['reason']}",
    "pause-requested": lambda body: f"pause asked for: {body['reason']}",
    "skip-requested": lambda body: f"skipping the step asked for: {body['reason']}",
    "step-skipped": lambda body: f"step {body['step']} skipped",
    "resume-requested": lambda body: f"resume asked for: {body.get('reason', '')}",
    "notifications-sent": _notified,
    "rollout-ended": lambda body: f"rollout ended: {body['outcome']}",
}
