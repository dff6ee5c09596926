r"""Journal entries in ArcSight's Common Event Format (CEF 0, revision 25), for security monitors.

In the header `|` and `\` are escaped; in an extension `\`, `=` and line ends are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.journal_entry import Entry

_LOUD: Mapping[str, int] = {
    "alarm-raised": 7,
    "approval-withdrawn": 5,
    "caller-added": 5,
    "caller-key-rotated": 6,
    "caller-withdrawn": 6,
    "drift-rollback-requested": 8,
    "effect-failed": 6,
    "key-retired": 6,
    "key-revoked": 9,
    "key-rotated": 6,
    "release-approved": 5,
    "release-published": 4,
    "rollback-requested": 7,
    "rollout-ended": 4,
    "rollout-started": 5,
    "settle-requested": 6,
    "signatures-renewed": 6,
    "skip-requested": 6,
}
_QUIET_SEVERITY = 3


def severity(kind: str) -> int:
    """From 0 to 10, as CEF has it; kinds that nobody rated are 3."""
    return _LOUD.get(kind, _QUIET_SEVERITY)


def to_cef(entry: Entry, message: str, version: str) -> str:
    """The entry as one line; `message` says in words what it is, `version` is Sluice's."""
    header = ["CEF:0", "Sluice", "Sluice", version, entry.kind, entry.kind.replace("-", " ")]
    header = [header[0], *map(_header, header[1:]), str(severity(entry.kind))]
    origin = entry.origin
    labelled = (
        ("model", entry.model),
        ("hash", entry.hash),
        ("knownBy", origin.get("known_by", "")),
        ("behalfOf", origin.get("for", "")),
        ("run", origin.get("run", "")),
    )
    extension = {
        "rt": str(round(entry.at * 1000)),
        "externalId": f"{entry.model}/{entry.sequence}",
        "suser": entry.actor,
        "shost": str(origin.get("host", "")),
        "spid": str(origin.get("process", "")),
        "reason": str(entry.body.get("reason") or ""),
        "msg": message,
        "cn1Label": "sequence",
        "cn1": str(entry.sequence),
    }
    for number, (label, value) in enumerate(labelled, start=1):
        if value:
            extension |= {f"cs{number}Label": label, f"cs{number}": str(value)}
    words = (f"{key}={_extension(value)}" for key, value in extension.items() if value)
    return "|".join([*header, " ".join(words)])


def _header(text: str) -> str:
    return " ".join(text.splitlines()).replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\r")
