"""Serves `backend: "openvino"`: `model.xml` and `model.bin` in the version folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.backends.openvino_network import open_network
from infra.local.backends.server import NetworkServer

if TYPE_CHECKING:
    from infra.local.backends.config import NetworkConfig
    from infra.local.backends.network import Network


class TritonPythonModel(NetworkServer):
    """One instance."""

    default_file = "model.xml"

    def open(self, config: NetworkConfig) -> Network:
        """See NetworkServer."""
        return open_network(config)
