"""A prediction log in a bucket: `s3://bucket/prefix`, on S3 or what speaks its protocol.

Arrow's own client, which is here for Parquet anyway. Credentials, region and endpoint are found as
every AWS client finds them: `AWS_ACCESS_KEY_ID` or a profile or the machine's role,
`AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`. It knows nothing of records.
"""

from __future__ import annotations

import os
import re
import time
from functools import cached_property
from typing import Any

from registry.errors import UserError

_URL = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[\w.=-]+)*)/?"
)
_CONNECT_S, _ANSWER_S, _TRIES = 5.0, 30.0, 3
"""Of one call: seconds for a connection, seconds for an answer, and how often it is tried."""
_AWAY_S = 30.0
"""For how long a store that nobody answered at is not asked again."""
_NO_CONNECTION = "NETWORK_CONNECTION"
"""In the words of AWS's client for what concerns the store and not one object."""


class S3Place:
    """The objects below `url`. Nothing is asked of the store before the first call.

    After a call that found nobody, further ones fail at once for a while: whoever looks at many
    hours waits for an unreachable store once.
    """

    scheme = "s3"

    def __init__(self, url: str) -> None:
        """Raises UserError for what is no such address."""
        match = _URL.fullmatch(url)
        known = match is not None and match["scheme"] == self.scheme
        if match is None or not known or {".", ".."} & set(match["prefix"].split("/")):
            form = f"{self.scheme}://bucket"
            raise UserError(f"{url!r} is no bucket", remedy=f"write {form} or {form}/path")
        self.name = url.rstrip("/")
        self._bucket, self._base = match["bucket"], match["bucket"] + match["prefix"]
        self._trouble, self._away_until = "", 0.0

    def folders(self, path: str) -> tuple[str, ...]:
        """See drift.record_places.Place."""
        return tuple(sorted(item.base_name for item in self._list(path) if not item.is_file))

    def files(self, path: str) -> dict[str, int]:
        """See drift.record_places.Place."""
        found = {item.base_name: int(item.size) for item in self._list(path) if item.is_file}
        return dict(sorted(found.items()))

    def read(self, path: str) -> bytes:
        """See drift.record_places.Place."""
        content: bytes = self._call(lambda client: self._read(client, path))
        return content

    def write(self, path: str, content: bytes) -> None:
        """See drift.record_places.Place: an object appears when its upload is complete."""
        self._call(lambda client: self._write(client, path, content))

    def delete(self, path: str) -> None:
        """See drift.record_places.Place."""
        try:
            self._call(lambda client: client.delete_file(f"{self._base}/{path}"))
        except FileNotFoundError:
            return

    @cached_property
    def _client(self) -> Any:
        from pyarrow.fs import FileType

        client = self._connect()
        # Listing what is in no bucket gives an empty list.
        if client.get_file_info(self._bucket).type is FileType.NotFound:
            raise OSError(f"there is no bucket {self._bucket}")
        return client

    def _connect(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return S3FileSystem(
            endpoint_override=endpoint,
            region=region,
            connect_timeout=_CONNECT_S,
            request_timeout=_ANSWER_S,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        )

    def _list(self, path: str) -> list[_Item]:
        folder = f"{self._base}/{path}".rstrip("/")
        items: list[_Item] = self._call(lambda client: _items(client, folder))
        return items

    def _read(self, client: Any, path: str) -> bytes:
        with client.open_input_file(f"{self._base}/{path}") as file:
            content: bytes = file.read()
        return content

    def _write(self, client: Any, path: str, content: bytes) -> None:
        with client.open_output_stream(f"{self._base}/{path}") as file:
            file.write(content)

    def _call(self, ask: Any) -> Any:
        if time.monotonic() < self._away_until:
            raise OSError(self._trouble)
        try:
            return ask(self._client)
        except FileNotFoundError:
            raise
        except OSError as error:
            told = " ".join(str(error).split())[:200]
            if _NO_CONNECTION in told:
                self._trouble, self._away_until = told, time.monotonic() + _AWAY_S
            raise OSError(told) from error


class _Item:
    """An object or what has objects below it."""

    def __init__(self, info: Any) -> None:
        from pyarrow.fs import FileType

        self.base_name, self.size = str(info.base_name), info.size
        self.is_file = info.type is FileType.File


def _items(client: Any, path: str) -> list[_Item]:
    from pyarrow.fs import FileSelector

    return [_Item(info) for info in client.get_file_info(FileSelector(path, allow_not_found=True))]
