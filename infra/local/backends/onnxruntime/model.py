"""Serves `backend: "onnxruntime"`: `model.onnx` in the version folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.backends.onnxruntime_network import OnnxNetwork
from infra.local.backends.server import NetworkServer

if TYPE_CHECKING:
    from infra.local.backends.config import NetworkConfig
    from infra.local.backends.network import Network


class TritonPythonModel(NetworkServer):
    """One instance."""

    default_file = "model.onnx"

    def open(self, config: NetworkConfig) -> Network:
        """See NetworkServer."""
        return OnnxNetwork(config)
