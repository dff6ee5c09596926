"""A server that speaks S3's protocol, and this process's way to it."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

SECRET = "secret"  # noqa: S105 - this server asks nobody's


@contextlib.contextmanager
def object_store() -> Iterator[str]:
    """Its address; it holds nothing yet."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def create_bucket(address: str, name: str) -> None:
    """An empty one."""
    from pyarrow.fs import S3FileSystem

    S3FileSystem(
        access_key="key",
        secret_key=SECRET,
        region="us-east-1",
        endpoint_override=address,
        allow_bucket_creation=True,
    ).create_dir(name)


def use_store(monkeypatch: pytest.MonkeyPatch, address: str = "") -> None:
    """Let this process be known there; without `address`, settings say where the store is."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
