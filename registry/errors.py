"""Every expected failure has a type: whose fault it is, and whether trying again can help.

A user sees `str(error)`: one line that says what, where and what to do. Whether something may be
retried is in the type, so no caller guesses from a message.
"""

from __future__ import annotations


class SluiceError(Exception):
    """An expected failure: `what` happened, `where`, and the `remedy`, shown as one line."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.remedy}" if self.remedy else ""
        return " ".join(f"{place}{self.what}{advice}".split())


class UserError(SluiceError):
    """Wrong use or bad input: refused before anything changed. Trying again cannot help."""


class IntegrityError(SluiceError):
    """Bytes are not the ones that were recorded. Permanent: nothing may use them."""


class EngineError(SluiceError):
    """An engine (Triton, Envoy, MLflow, a database, the disk) did not do what it should."""


class RetryableEngineError(EngineError):
    """The same call may go through later: a time-out, a refused connection, a busy database."""


class PermanentEngineError(EngineError):
    """The same call will fail again: a missing program, a rejected configuration."""


class ConflictError(SluiceError):
    """Somebody else is acting on the same model."""


class LeaseHeldError(ConflictError):
    """Another controller holds the model's lease."""


class FencedError(ConflictError):
    """A newer lease was given out: this controller must stop acting at once."""
