"""Tells a webhook what rollouts and drift cases decide, and can delay or fail none of them.

A thread follows the journal while a command works, and posts what matters after it was written.
What it posted is journaled when the command has done its work: what a killed command did not get
to is sent by the next one, under the same `webhook-id` if it was sent already.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from canary.decisions import BY_A_PERSON
from pipelines.narration import sentence
from pipelines.stages import announce
from registry.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from infra.webhook import Webhook
    from pipelines.assembly import Platform
    from registry.journal import Entry

SENT = "notifications-sent"
"""The kind of entry that says how far the webhook was told, and what it could not be told."""

FOLLOW_S = 0.25
"""Between two looks at the journal, and before the first: a way back is written undisturbed."""

OLDEST_S = 3600.0
"""What happened longer than this before a command began is no news any more."""

CLOSING_S = 10.0
"""How long a command that has done its work waits for what is still to be sent."""

WAITING = "waiting"
"""The event of a step that needs somebody's word."""

_DECISIONS = {
    "advance": "advanced",
    "promote": "promoted",
    "roll-back": "rolling-back",
    "reject": "rejected",
    "pause": "paused",
    "halt": "halted",
}
_PHASES = {"promoted": "promoted", "paused": "paused"}
_CALLS = {
    "alarm-raised": "drift-alarm",
    "attribution-decided": "drift-finding",
    "integrity-broken": "integrity-broken",
}
_KINDS = {
    "rollback-requested": "rolling-back",
    "waves-paused": "paused",
    "waves-reverting": "rolling-back",
    "waves-rollback-requested": "rolling-back",
    "waves-stopped": "halted",
}
_ENDS = {"settled": "settled", "rolled-back": "rolled-back", "compared": "compared"}


def event_of(entry: Entry) -> str:
    """The event that an entry is, as `[notifications] events` names it; empty for all others."""
    body = entry.body
    if entry.kind == "decided":
        if body["decision"] == "hold" and body.get("rule") == BY_A_PERSON:
            return WAITING
        return _DECISIONS.get(body["decision"], "")
    if entry.kind == "phase-entered":
        return _PHASES.get(body["phase"], "")
    if entry.kind in {"rollout-ended", "waves-ended"}:
        return _ENDS.get(body["outcome"], "")
    if entry.kind in _CALLS:
        return _CALLS[entry.kind] if body.get("calls") else ""
    return _KINDS.get(entry.kind, "")


def message(entry: Entry, event: str, rollout: Mapping[str, Any], region: str = "") -> str:
    """The body to post, JSON: `type`, `timestamp` and `data`, with a sentence for people."""
    place = f"{entry.model} in {region}" if region else entry.model
    decided = {name: entry.body[name] for name in ("reason", "rule") if name in entry.body}
    data = {
        "model": entry.model,
        **({"region": region} if region else {}),
        "event": event,
        "text": f"{place}: {sentence(entry)}",
        **{name: rollout[name] for name in ("rollout", "candidate", "baseline") if name in rollout},
        **decided,
        "actor": entry.actor,
        "sequence": entry.sequence,
        "hash": entry.hash,
    }
    moment = datetime.fromtimestamp(entry.at, UTC).isoformat()
    kind = event.replace("-", ".", 1) if event in _CALLS.values() else f"rollout.{event}"
    return json.dumps({"type": kind, "timestamp": moment, "data": data})


@contextmanager
def notifying(
    platform: Platform,
    model: str,
    *,
    strict: bool = True,
    tell: Callable[[str], None] = announce,
) -> Iterator[None]:
    """Post to the webhook, if there is one, what the journal says of `model` during the block.

    At its end `tell` is called with what could not be sent, the block's own error or not.

    `strict`: raise UserError before the block when the settings or the secret are wrong. Without
    it, as for a way back, that is only told, and even reading the settings waits for the thread.
    """
    if strict and checked_webhook(platform) is None:
        yield
        return
    follower = _Follower(platform, model, since=time.time(), tell=tell)
    follower.start()
    try:
        yield
    finally:
        follower.finish()


def checked_webhook(platform: Platform) -> Webhook | None:
    """The workspace's webhook, None when it has none. Connects to nothing.

    Raises UserError for wrong settings, and for a secret that is missing or malformed.
    """
    import os

    settings = platform.workspace.settings.notifications
    if not settings.webhook:
        return None
    from infra.webhook import Webhook, signing_secret

    secret = signing_secret(os.environ.get(settings.secret_env, ""), settings.secret_env)
    return Webhook(settings.webhook, secret)


@dataclass
class _Outcome:
    """How far the journal was followed, and what became of its events."""

    through: int = 0
    sent: list[int] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


class _Follower:
    """The thread, and what it leaves for the journal."""

    def __init__(
        self, platform: Platform, model: str, *, since: float, tell: Callable[[str], None]
    ) -> None:
        self._platform = platform
        self._model = model
        self._since = since
        self._announce = tell
        self._over = threading.Event()
        self._outcome = _Outcome()
        self._rollout: Mapping[str, Any] = {}
        self._last = ""
        self._trouble = ""
        # A thread that hangs in an engine must not keep the command from ending.
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Wait for what is still to be sent, journal what was, and tell once what was not."""
        self._over.set()
        self._thread.join(CLOSING_S)
        outcome, late = self._outcome, self._thread.is_alive()
        if outcome.sent or outcome.failed:
            with suppress(SluiceError):
                self._record(outcome)
        failed, reasons = len(outcome.failed), {one["reason"] for one in outcome.failed}
        if failed:
            self._announce(
                f"{failed} notifications could not be sent: {'; '.join(sorted(reasons))}"
            )
        if late:
            self._announce("notifications are not all sent; the next command sends the rest")
        if self._trouble:
            self._announce(f"no notification was sent: {self._trouble}")

    def _record(self, outcome: _Outcome) -> None:
        body = {"through": outcome.through, "sent": [*outcome.sent], "failed": [*outcome.failed]}
        self._platform.append(self._model, SENT, body)

    def _run(self) -> None:
        self._over.wait(FOLLOW_S)
        try:
            webhook = checked_webhook(self._platform)
            if webhook is not None:
                with closing(webhook):
                    self._follow(webhook)
        except SluiceError as error:
            self._trouble = str(error)
        except Exception as error:  # noqa: BLE001 - a traceback of a thread could show the address
            self._trouble = type(error).__name__

    def _follow(self, webhook: Webhook) -> None:
        events = frozenset(self._platform.workspace.settings.notifications.events)
        entries = self._platform.journal.read(self._model)
        position = self._beginning(entries)
        if not any(entry.kind == SENT for entry in entries):
            # From here on nothing is missed, even if this command is killed.
            self._record(_Outcome(position))
        for entry in entries:
            if entry.sequence <= position:
                self._remember(entry)
        while True:
            over = self._over.is_set()
            for entry in self._platform.journal.read(self._model, position):
                self._tell(webhook, entry, events)
                self._remember(entry)
                position = entry.sequence
            if over:
                return
            self._over.wait(FOLLOW_S)

    def _beginning(self, entries: Iterable[Entry]) -> int:
        """The last entry that needs no telling: told before, or older than this command."""
        known = [entry.body["through"] for entry in entries if entry.kind == SENT]
        since = self._since - OLDEST_S if known else self._since
        old = [entry.sequence for entry in entries if entry.at < since]
        return max([*known, *old], default=0)

    def _remember(self, entry: Entry) -> None:
        if entry.kind == "rollout-started":
            self._rollout = entry.body
        if entry.kind == "rollout-ended":
            self._rollout = {}

    def _tell(self, webhook: Webhook, entry: Entry, events: frozenset[str]) -> None:
        event = event_of(entry)
        # A step that waits says so again with each block of traffic.
        repeated = event == self._last == WAITING
        self._last = event or self._last
        if event in events and not repeated:
            try:
                body = message(entry, event, self._rollout, self._platform.name)
                webhook.send(f"msg_{entry.hash[:32]}", time.time(), body)
                self._outcome.sent.append(entry.sequence)
            except SluiceError as error:
                failure = {"sequence": entry.sequence, "event": event, "reason": str(error)}
                self._outcome.failed.append(failure)
        self._outcome.through = entry.sequence
