"""What a gateway's controller says of a route that was written: in use, refused, or not looked at.

A condition counts only when it was made of the object as it is now (`observedGeneration`): one of
an older generation says nothing of the newer. Pure: objects in, words out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra.kubernetes.route_objects import Door, Protocol

_NEEDED = ("Accepted", "ResolvedRefs")
_PASSING = frozenset({"Pending"})
"""Reasons of a condition that is False for now only."""


class Acceptance(StrEnum):
    """What is known of one object."""

    IN_USE = "in use"
    PENDING = "pending"
    REFUSED = "refused"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Told:
    """`detail` says why it is not in use."""

    acceptance: Acceptance
    detail: str = ""


def gateway_acceptance(found: Mapping[str, Any], door: Door, protocol: Protocol) -> Told:
    """Of an HTTPRoute or a GRPCRoute, by the status of its one parent.

    `Programmed` and `PartiallyInvalid`, which not every controller sets, count where they stand.
    """
    parents = (found.get("status") or {}).get("parents") or []
    ours = [one for one in parents if _is_parent(one.get("parentRef") or {}, door, protocol)]
    if not ours:
        return Told(Acceptance.PENDING, "no controller has looked at it: is the Gateway there?")
    told = [_conditions(found, one.get("conditions") or []) for one in ours]
    return next((one for one in told if one.acceptance is not Acceptance.IN_USE), told[0])


def istio_acceptance(found: Mapping[str, Any]) -> Told:
    """Of a VirtualService or a DestinationRule; UNTOLD where istiod writes no status, as usual."""
    status = found.get("status") or {}
    conditions = [one for one in status.get("conditions") or [] if one["type"] == "Reconciled"]
    messages = status.get("validationMessages") or []
    if not conditions and not messages:
        return Told(Acceptance.UNTOLD)
    if int(status.get("observedGeneration", 0)) < _generation(found):
        return Told(Acceptance.PENDING, "istiod has not looked at it yet")
    for one in messages:
        if str(one.get("level", "")).upper() == "ERROR":
            return Told(Acceptance.REFUSED, str((one.get("type") or {}).get("name", one)))
    waiting = [one for one in conditions if one["status"] != "True"]
    if waiting:
        return Told(Acceptance.PENDING, str(waiting[0].get("message", "not every proxy has it")))
    return Told(Acceptance.IN_USE)


def _conditions(found: Mapping[str, Any], conditions: list[Any]) -> Told:
    generation = _generation(found)
    by_type = {one["type"]: one for one in conditions}
    for name in _NEEDED:
        if name not in by_type:
            return Told(Acceptance.PENDING, f"nobody has said yet that it is {name}")
    for name, wanted in _wanted(by_type):
        one = by_type[name]
        if int(one.get("observedGeneration", 0)) < generation:
            return Told(Acceptance.PENDING, f"{name} was said of an older one")
        if one["status"] != wanted:
            passing = one["status"] == "Unknown" or one.get("reason") in _PASSING
            why = f"{name} is {one['status']}: {one.get('reason', '')}, {one.get('message', '')}"
            # A newer Programmed may follow; a refusal stays until somebody writes anew.
            is_passing = passing or name == "Programmed"
            return Told(Acceptance.PENDING if is_passing else Acceptance.REFUSED, why)
    return Told(Acceptance.IN_USE)


def _wanted(by_type: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (*_NEEDED, "Programmed"):
        if name in by_type:
            yield name, "True"
    if "PartiallyInvalid" in by_type:
        yield "PartiallyInvalid", "False"


def _is_parent(parent: Mapping[str, Any], door: Door, protocol: Protocol) -> bool:
    return (
        parent.get("name") == door.gateway
        and parent.get("namespace", door.namespace) == door.of_gateway
        and parent.get("sectionName", door.listener(protocol)) == door.listener(protocol)
    )


def _generation(found: Mapping[str, Any]) -> int:
    return int(found["metadata"].get("generation", 0))
