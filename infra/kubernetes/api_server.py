"""Asks a Kubernetes API server: each request with a time-out and few tries.

Which of its answers may pass and which stay is told by the type of the error. It knows paths and
status codes, and no kind of object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.database_errors import RacedError
from registry.errors import EngineError, PermanentEngineError, RetryableEngineError
from registry.quiet import silence_retries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubernetes.client import ApiClient

TIMEOUT_S = 10.0
"""Of one try."""
ATTEMPTS = 3
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0
"""The longest between two tries, whatever `Retry-After` asks for."""
_NOBODY = 0
"""Status where no answer came."""
_GONE = 410
_RETRYABLE = frozenset({_NOBODY, 408, 409, 423, 429, 500, 502, 503, 504})
_REMEDIES = {
    401: "log in to the cluster anew (`kubectl auth whoami`)",
    403: "give this account the role in infra/kubernetes/base/ (`kubectl auth can-i --list`)",
    404: "install the namespace and the API that it belongs to (`kubectl api-resources`)",
    422: "the cluster refuses the object; compare [kubernetes] with its policies",
}


class AbsentError(PermanentEngineError):
    """There is no such object."""


class ForgottenError(RetryableEngineError):
    """The server no longer knows where a list was to go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `swap`: it names the version of the object that it changes."""

    method: str
    path: str
    where: str
    """What it is about, for a person."""
    query: tuple[tuple[str, str], ...] = ()
    body: str | None = field(default=None, repr=False)
    content_type: str = "application/json"
    swap: bool = False


class ApiServer:
    """One server, through the official client. `first_wait_s` is the shortest between tries."""

    def __init__(
        self,
        client: ApiClient,
        *,
        timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._first_wait_s = first_wait_s

    def ask(self, request: Request) -> Mapping[str, Any]:
        """The JSON object that the server answers.

        Raises AbsentError for an object that is not there, ForgottenError for a page of a list
        that is over, RacedError when another writer was first, RetryableEngineError when the
        server did not answer in time or was busy, PermanentEngineError when it refused.
        """
        import stamina

        silence_retries()

        def may_retry(error: Exception) -> bool | float:
            if not isinstance(error, _AnswerError) or error.status not in _RETRYABLE:
                return False
            if error.status == 409 and request.swap:
                return False
            if error.retry_after_s is not None:
                return min(error.retry_after_s, LONGEST_WAIT_S)
            return True

        ask = stamina.retry(
            on=may_retry,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._first_wait_s,
            wait_max=LONGEST_WAIT_S,
            wait_jitter=self._first_wait_s,
        )(self._ask_once)
        try:
            return ask(request)
        except _AnswerError as error:
            raise _told(error, request.where) from error

    def _ask_once(self, request: Request) -> Mapping[str, Any]:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        prepared = self._client.param_serialize(
            method=request.method,
            resource_path=request.path,
            query_params=list(request.query),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*prepared, _request_timeout=self._timeout_s)
            content: bytes = response.read()  # type: ignore[no-untyped-call]
        except (HTTPError, OSError, ApiException) as error:
            raise _AnswerError(_NOBODY, str(error), None) from error
        return _parsed(int(response.status), content, response.headers)


class _AnswerError(Exception):
    """The server answered with something other than success, or nobody did (status 0)."""

    def __init__(self, status: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def _parsed(status: int, content: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The JSON object of an answer. Raises _AnswerError for any other."""
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    well = 200 <= status < 300
    if well and isinstance(parsed, dict):
        return parsed
    if well:
        raise _AnswerError(502, "not a JSON object", None)
    shown = parsed.get("message") if isinstance(parsed, dict) else content.decode(errors="replace")
    raise _AnswerError(status, str(shown)[:500], _seconds(headers.get("Retry-After")))


def _seconds(value: str | None) -> float | None:
    """`Retry-After` as the API server sends it: whole seconds."""
    return float(value) if value is not None and value.isdecimal() else None


def _told(error: _AnswerError, where: str) -> EngineError:
    """What the caller is told of the server's last word."""
    if error.status == _NOBODY:
        what = f"the cluster's API server does not answer: {error}"
        return RetryableEngineError(what, where=where, remedy="try again")
    if error.status == 409:
        return RacedError(f"somebody else changed it: {error}", where=where, remedy="try again")
    what = f"the API server answered {error.status}: {error}"
    if error.status == _GONE:
        return ForgottenError(what, where=where, remedy="try again")
    if error.status == 404 and not _is_unknown_kind(str(error)):
        return AbsentError(what, where=where)
    if error.status in _RETRYABLE:
        return RetryableEngineError(what, where=where, remedy="try again")
    return PermanentEngineError(what, where=where, remedy=_REMEDIES.get(error.status, ""))


def _is_unknown_kind(message: str) -> bool:
    """Whether a 404 is about the API or the namespace rather than about the object.

    For an absent object the server names it; for an absent API it has a fixed text
    (k8s.io/apimachinery `NewGenericServerResponse`, or plain `404 page not found`).
    """
    return (
        "could not find the requested resource" in message
        or "page not found" in message
        or message.startswith("namespaces ")
    )
