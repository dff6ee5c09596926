"""Posts one signed message to a webhook, by the specification of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
The address and the secret may both let somebody act, so no message of ours and no log shows them.
"""

from __future__ import annotations

import binascii
import logging
from base64 import b64decode
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry.errors import PermanentEngineError, RetryableEngineError, UserError
from registry.quiet import silence_retries

if TYPE_CHECKING:
    import httpx

SECRET_PREFIX = "whsec_"  # noqa: S105 - the format's first letters, no secret
SECRET_BYTES = (24, 64)
"""The lengths of a symmetric secret that the specification allows."""

ATTEMPTS = 3
TIMEOUT_S = 3.0
"""For connecting, and for each wait for the answer."""

FIRST_WAIT_S = 0.2
"""Before the second try; twice as long before the third, and as much again by chance."""

_TRY_AGAIN = frozenset({408, 425, 429})


def signing_secret(value: str, variable: str) -> str:
    """`value` when it can sign. Raises UserError, which names the variable and never the value."""
    where = f"environment variable {variable}"
    remedy = f"set it to {SECRET_PREFIX} and the base64 of 24 to 64 random bytes"
    if not value:
        raise UserError("the webhook's secret is not set", where=where, remedy=remedy)
    try:
        size = len(b64decode(value.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not value.startswith(SECRET_PREFIX) or not SECRET_BYTES[0] <= size <= SECRET_BYTES[1]:
        raise UserError("is not a webhook's secret", where=where, remedy=remedy)
    return value


class Webhook:
    """One address, with the secret that signs what is sent there. For use by one thread."""

    def __init__(
        self, url: str, secret: str, *, timeout_s: float = TIMEOUT_S, attempts: int = ATTEMPTS
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._attempts = attempts
        # httpx logs whole addresses.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    @property
    def host(self) -> str:
        """The part of the address that may be shown."""
        return urlsplit(self._url).hostname or ""

    def send(self, identity: str, at: float, body: str) -> None:
        """Post `body`, JSON text, as the message `identity`; tries again for a few seconds.

        A receiver knows a repetition by its `webhook-id`. `at`: UTC epoch seconds of this try.
        Raises RetryableEngineError when no try got through, PermanentEngineError when the address
        refused the message.
        """
        import stamina

        silence_retries()
        headers = {
            "content-type": "application/json",
            "user-agent": "sluice",
            "webhook-id": identity,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": self._signature(identity, at, body),
        }
        tries = stamina.retry_context(
            on=RetryableEngineError,
            attempts=self._attempts,
            timeout=None,
            wait_initial=FIRST_WAIT_S,
            wait_max=1.0,
            wait_jitter=FIRST_WAIT_S,
        )
        for attempt in tries:
            with attempt:
                self._post(body, headers)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        return httpx.Client(timeout=self._timeout_s, follow_redirects=False)

    def _signature(self, identity: str, at: float, body: str) -> str:
        from standardwebhooks.webhooks import Webhook as Signer

        moment = datetime.fromtimestamp(int(at), UTC)
        return Signer(self._secret).sign(msg_id=identity, timestamp=moment, data=body)

    def _post(self, body: str, headers: dict[str, str]) -> None:
        import httpx

        try:
            # Only the status counts, so a long answer is not read.
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                status = answer.status_code
        except httpx.TimeoutException:
            raise RetryableEngineError("no answer in time", where=self.host) from None
        except httpx.HTTPError as error:
            what = f"cannot be reached ({type(error).__name__})"
            raise RetryableEngineError(what, where=self.host) from None
        if status >= 500 or status in _TRY_AGAIN:
            raise RetryableEngineError(f"answered HTTP {status}", where=self.host)
        if not 200 <= status < 300:
            raise PermanentEngineError(f"refused with HTTP {status}", where=self.host)
