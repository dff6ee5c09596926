"""One sentence for each journal entry, for `sluice history` and for the demo's page."""

from __future__ import annotations

from datetime import UTC, datetime
from math import exp
from typing import TYPE_CHECKING, Any

from canary.decisions import BY_A_PERSON
from pipelines.waves.telling import EACH_TIME as EACH_TIME_IN_WAVES
from pipelines.waves.telling import SENTENCES as OF_WAVES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.journal import Entry


_EACH_TIME = frozenset(
    {
        "effect-started",
        "effect-confirmed",
        "looked",
        "release-reserved",
        "window-judged",
        "drift-pairs",
        "standing-pairs",
        "pointer-signed",
    }
)


def sentence(entry: Entry) -> str:
    """What the entry says, in a few words; unknown kinds show their name."""
    tell = _SENTENCES.get(entry.kind)
    return tell(entry.body) if tell else entry.kind


def matters(entry: Entry) -> bool:
    """Whether a person wants to see the entry: not each look, and not each effect."""
    if entry.kind == "decided":
        return entry.body["decision"] != "hold" or _waits(entry.body)
    if entry.kind == "notifications-sent":
        return bool(entry.body["failed"])
    return entry.kind not in _EACH_TIME | EACH_TIME_IN_WAVES


def _case(body: Mapping[str, Any]) -> str:
    return f"drift case {body['case']}"


def _because(body: Mapping[str, Any]) -> str:
    return f": {body['reason']}" if body.get("reason") else ""


def _alarm_raised(body: Mapping[str, Any]) -> str:
    return f"{_case(body)}, {body['severity']}, release {body['release']}: {body['reason']}"


def _alarm_muted(body: Mapping[str, Any]) -> str:
    what = ", ".join(body["columns"]) or "everything"
    until = datetime.fromtimestamp(body["until"], UTC)
    return f"drift: {what} muted until {until:%Y-%m-%d %H:%M} UTC{_because(body)}"


def _attributed(body: Mapping[str, Any]) -> str:
    kept = body.get("not_rolled_back")
    stays = f"; not rolled back, since {kept}" if kept else ""
    return f"{_case(body)}: {body['outcome']}{_because(body)}{stays}"


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
    if body["plan"].get("ends_with") == "return":
        weight = body["plan"]["steps"][0]["weight"]
        return f"experiment with release {body['candidate']} at {weight} %{against}"
    return f"rollout of release {body['candidate']}{against}{_because(body)}"


def _rollout_ended(body: Mapping[str, Any]) -> str:
    if body["outcome"] == "compared":
        return "experiment ended: all traffic is back"
    return f"rollout ended: {body['outcome']}"


def _notified(body: Mapping[str, Any]) -> str:
    failed = [f"{one['event']} ({one['reason']})" for one in body["failed"]]
    told = f"webhook told of {len(body['sent'])} events"
    return f"{told}; not of {', '.join(failed)}" if failed else told


def _searched(body: Mapping[str, Any]) -> str:
    return f"search: {body['chosen']} of {body['tried']} tried for {body['objective']}"


def _looked(body: Mapping[str, Any]) -> str:
    revisions = body["observation"]["revisions"]
    seen = ", ".join(f"release {number} is {state[0]}" for number, state in revisions.items())
    return f"looked: {seen or 'nothing runs'}"


def _step_entered(body: Mapping[str, Any]) -> str:
    if not body["weight"]:
        return f"{_step(body)} shadows: the candidate gets copies, nobody gets its answers"
    return f"{_step(body)}: {body['weight']} % to the candidate"


def _step(body: Mapping[str, Any]) -> str:
    """People count from 1."""
    return f"step {body['step'] + 1}"


def _resumed(body: Mapping[str, Any]) -> str:
    if "step" not in body:
        return "resume asked for"
    role = f" as {body['role']}" if body.get("role") else ""
    return f"{_step(body)} may go on, by somebody's word{role}"


def _decided(body: Mapping[str, Any]) -> str:
    if body["decision"] == "hold":
        return f"{'waiting' if _waits(body) else 'looked'}: {body['reason']}"
    return f"decided: {body['decision']}: {body['reason']}"


def _waits(body: Mapping[str, Any]) -> bool:
    return bool(body.get("rule") == BY_A_PERSON)


def _key_gone(body: Mapping[str, Any]) -> str:
    what = "vouches for what it signed alone" if "sealed" in body else "counts no more"
    return f"keys: {body['key'][:12]} {what} (version {body['version']}){_because(body)}"


def _caller_added(body: Mapping[str, Any]) -> str:
    until = datetime.fromtimestamp(body["until"], UTC)
    what = f"caller {body['caller']} is given token {body['id']}"
    return f"{what} until {until:%Y-%m-%d}{_because(body)}"


def _rollback_requested(body: Mapping[str, Any]) -> str:
    where = "rollback" if body["to"] is None else f"rollback to {body['to']}"
    return f"{where} asked for: {body['reason']}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **OF_WAVES,
    "artifact-registered": _registered,
    "variant-converted": _converted,
    "gate-decided": _gated,
    "release-reserved": lambda body: f"release number {body['release']} reserved",
    "release-published": _published,
    "release-approved": lambda body: f"release {body['release']} approved{_because(body)}",
    "approval-withdrawn": lambda body: (
        f"approval of release {body['release']} withdrawn{_because(body)}"
    ),
    "rollout-started": _rollout_started,
    "effect-started": lambda body: f"effect {body['effect']} {body['name']} begins",
    "effect-confirmed": lambda body: f"effect {body['effect']} confirmed",
    "effect-failed": lambda body: f"effect {body['effect']} failed: {body['reason']}",
    "decided": _decided,
    "search-ended": _searched,
    "looked": _looked,
    "step-entered": _step_entered,
    "phase-entered": lambda body: f"phase {body['phase']}",
    "rollback-requested": _rollback_requested,
    "pause-requested": lambda body: f"pause asked for: {body['reason']}",
    "skip-requested": lambda body: f"skipping the step asked for: {body['reason']}",
    "step-skipped": lambda body: f"{_step(body)} skipped",
    "resume-requested": _resumed,
    "settle-requested": lambda body: f"taking the live candidate as it is: {body['reason']}",
    "notifications-sent": _notified,
    "rollout-ended": _rollout_ended,
    "window-judged": lambda body: f"drift: {body['outcome']}: {body['reason']}",
    "integrity-broken": lambda body: f"scrub: {body['reason']}",
    "quarantined": lambda body: f"scrub: {body['path']} taken away to {body['moved_to']}",
    "healed": lambda body: f"scrub: {body['path']} is whole again, from {body['from']}",
    "alarm-raised": _alarm_raised,
    "attribution-begun": lambda body: (
        f"{_case(body)} asks release {body['previous']} what release {body['current']} is asked"
    ),
    "drift-pairs": lambda body: (
        f"{_case(body)}: {body['pairs']} pairs, e-value {body['e_value']:.3g}"
    ),
    "pointer-signed": lambda body: (
        f"serving pointer {body['sequence']} names release {body['release']}"
    ),
    "standing-pairs": lambda body: (
        f"drift: {body['pairs']} standing copies, e-value {exp(min(body['log_e'], 700.0)):.3g}"
    ),
    "alarm-acknowledged": lambda body: f"{_case(body)} taken{_because(body)}",
    "alarm-muted": _alarm_muted,
    "alarm-unmuted": lambda body: f"drift: no longer muted{_because(body)}",
    "alarm-cleared": lambda body: f"{_case(body)} is over{_because(body)}",
    "attribution-decided": _attributed,
    "key-rotated": lambda body: (
        f"keys: {body['signing'][:12]} signs (version {body['version']}){_because(body)}"
    ),
    "key-retired": _key_gone,
    "key-revoked": _key_gone,
    "signatures-renewed": lambda body: (
        f"keys: {body['count']} things are signed again by {body['signing'][:12]}{_because(body)}"
    ),
    "caller-added": _caller_added,
    "caller-withdrawn": lambda body: (
        f"token {body['id']} of caller {body['caller']} is refused{_because(body)}"
    ),
    "caller-key-rotated": lambda body: (
        f"callers: key {body['key']} signs new tokens{_because(body)}"
    ),
    "drift-rollback-requested": lambda body: f"{_case(body)} asks to go back to {body['to']}",
}
