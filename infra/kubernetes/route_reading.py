"""Whether a stored object is still the route that it says it is.

What counts is what a gateway carries out: the weights are read from the rules, never from the
annotation. A route is told where the spec is, by its hash, the one that was written (by an older
version or under other settings too), or where every rule is as it would be written now. Anything
else is somebody's change, and is said to be one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.ports import Share
from infra.kubernetes.route_objects import SPEC, spec_hash, where, written_route
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canary.ports import Route
    from infra.kubernetes.route_objects import Json


def matching(
    found: Mapping[str, Any],
    seen: Callable[[Route], Route],
    made: Callable[[Route], Json],
) -> Route:
    """The route that the object has always been, or for which `made` makes its very spec.

    `seen` puts into the annotated route what the spec says. Raises RetryableEngineError, which
    names the field, when no route has such a spec: the next write makes it whole.
    """
    annotated = written_route(found)
    try:
        route = seen(annotated)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise changed(found, f"{type(error).__name__} {error}") from error
    there = found.get("spec") or {}
    if (found["metadata"].get("annotations") or {}).get(SPEC) == spec_hash(there):
        return route
    wanted = made(route)["spec"]
    if (place := difference(wanted, there)) is not None:
        raise changed(found, place)
    return route


def by_weight(written: Route, weights: Mapping[int, int]) -> Route:
    """The route with other weights. Raises ValueError when they do not make one."""
    shares = tuple(Share(one.release, weights.get(one.release, 0)) for one in written.shares)
    return replace(written, shares=shares)


def difference(wanted: Any, there: Any, place: str = "spec") -> str | None:
    """Where two JSON values differ first; None where they do not."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        for key in sorted({*wanted, *there}):
            if key not in wanted or key not in there:
                return f"{place}.{key}"
            if (inner := difference(wanted[key], there[key], f"{place}.{key}")) is not None:
                return inner
        return None
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        for number, pair in enumerate(zip(wanted, there, strict=True)):
            if (inner := difference(*pair, f"{place}[{number}]")) is not None:
                return inner
        return None
    return None if wanted == there else place


def changed(found: Mapping[str, Any], place: str) -> RetryableEngineError:
    """The error for an object that somebody else changed."""
    others = sorted(
        {
            str(one.get("manager"))
            for one in found["metadata"].get("managedFields") or []
            if one.get("manager") != "sluice" and one.get("subresource") != "status"
        }
    )
    by = f" ({', '.join(others)})" if others else ""
    return RetryableEngineError(
        f"somebody else{by} changed {place}: it is no route of ours",
        where=where(found),
        remedy="the next write makes it whole; take the object out of what changes it",
    )
