"""Names of models and of journal sequences, and the one place that says which are legal."""

from __future__ import annotations

import re

from registry.errors import UserError

WORKSPACE = "_workspace"
"""The journal's sequence about the workspace itself: no model can have this name."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_name(name: str, *, what: str = "model name") -> str:
    """Return `name`, or raise UserError when it is not `[a-z0-9][a-z0-9-]{0,62}`."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a {what}",
            remedy="use 1 to 63 lower-case letters, digits and hyphens, not starting with a hyphen",
        )
    return name


def check_sequence(name: str) -> str:
    """Return `name`, or raise UserError when it is neither a model's nor `WORKSPACE`."""
    return name if name == WORKSPACE else check_name(name)
