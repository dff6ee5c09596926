"""Tells which device answers: a metric of the server, for as long as the process lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

METRIC = "sluice_execution_device"
"""The same gauge as that of the network backends; `status` reads it."""


class Devices:
    """The gauges of one model's instance; they vanish with it."""

    def __init__(self, model: str, release: int) -> None:
        import triton_python_backend_utils as pb_utils

        self._labels = {"model": model, "version": str(release)}
        self._family = pb_utils.MetricFamily(
            name=METRIC,
            description="1 for the device that answers the model now",
            kind=pb_utils.MetricFamily.GAUGE,
        )
        self._gauges: list[Any] = []

    def tell(self, devices: Sequence[str]) -> None:
        """Set the gauge of each device to 1."""
        for device in devices:
            gauge = self._family.Metric(labels={**self._labels, "device": device})
            gauge.set(1)
            self._gauges.append(gauge)

    def forget(self) -> None:
        """Give the gauges back; the interpreter's own end is too late and crashes its process."""
        self._gauges.clear()
        del self._family
