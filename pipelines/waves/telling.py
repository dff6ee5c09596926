"""One line for each entry about waves: for whoever waits for them, and for `sluice history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal import Entry

EACH_TIME = frozenset({"wave-effect-started", "wave-effect-confirmed"})
"""What `sluice history` shows with `--all` only."""


def told(entry: Entry) -> str:
    """A line for people, empty for entries that only machines need."""
    tell = None if entry.kind in EACH_TIME else SENTENCES.get(entry.kind)
    return tell(entry.body) if tell else ""


def _because(body: Mapping[str, Any]) -> str:
    return f": {body['reason']}" if body.get("reason") else ""


def _effect(body: Mapping[str, Any]) -> str:
    where = f" in {body['region']}" if body["region"] else ""
    return f"effect {body['effect']} {body['name']} release {body['release']}{where} begins"


def _ended(body: Mapping[str, Any]) -> str:
    return f"waves ended, {body['outcome']}{_because(body)}"


SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "waves-started": lambda body: (
        f"release {body['candidate']} in waves: {', '.join(body['regions'])}{_because(body)}"
    ),
    "wave-begun": lambda body: f"{body['region']}: its wave begins",
    "wave-settled": lambda body: f"{body['region']}: settled",
    "wave-turned-back": lambda body: f"{body['region']}: {body['outcome']}{_because(body)}",
    "wave-reverted": lambda body: f"{body['region']}: back at release {body['release']}",
    "region-cut-off": lambda body: f"{body['region']}: cut off{_because(body)}",
    "region-returned": lambda body: f"{body['region']}: reached again",
    "region-caught-up": lambda body: f"{body['region']}: caught up with release {body['release']}",
    "waves-stopped": lambda body: f"no further wave{_because(body)}",
    "waves-reverting": lambda body: f"every region goes back{_because(body)}",
    "waves-paused": lambda body: f"waves paused{_because(body)}",
    "waves-resume-requested": lambda _: "waves: resume asked for",
    "waves-rollback-requested": lambda body: f"every region is sent back{_because(body)}",
    "waves-ended": _ended,
    "wave-effect-started": _effect,
    "wave-effect-confirmed": lambda body: f"effect {body['effect']} confirmed",
    "wave-effect-failed": lambda body: f"effect {body['effect']} failed{_because(body)}",
    "release-replicated": lambda body: f"release {body['release']} brought here and verified",
}
