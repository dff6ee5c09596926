"""Asks one revision in the cluster, at the address where this process reaches it.

Which versions it serves, and what it answers to golden requests. The restricted parts of its API
are not needed, so the control plane holds no secret of a revision's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from infra.kubernetes.names import revision_name
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Interface
    from registry.kubernetes_settings import KubernetesSection
    from validation.answers import Answer

_TIMEOUT_S = 5.0
_GOLDEN_TIMEOUT_S = 30.0
_IN_FLIGHT = 4


class Endpoints(ABC):
    """How a revision is asked."""

    @abstractmethod
    def versions(self, model: str, release: int, triton_model: str) -> tuple[str, ...]:
        """Versions of `triton_model` that the revision serves. Raises RetryableEngineError."""

    @abstractmethod
    def answers(
        self,
        model: str,
        release: int,
        interface: Interface,
        items: Iterable[tuple[str, NDArray[Any]]],
    ) -> list[Answer]:
        """What it answers to (id, question), in order. Raises RetryableEngineError."""


class ServiceEndpoints(Endpoints):
    """Through the revision's Service, by the addresses that the settings spell."""

    def __init__(self, settings: KubernetesSection) -> None:
        self._settings = settings

    def versions(self, model: str, release: int, triton_model: str) -> tuple[str, ...]:
        """See Endpoints: by the model's metadata, which names the versions that are ready."""
        import httpx

        address = self._address(self._settings.http_address, model, release)
        try:
            response = httpx.get(
                f"{address}/v2/models/{triton_model}", timeout=_TIMEOUT_S, trust_env=False
            )
            response.raise_for_status()
            return tuple(str(version) for version in response.json()["versions"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise RetryableEngineError(
                f"does not say what it serves: {error}",
                where=address,
                remedy="check http_address of [kubernetes], and the revision's network policy",
            ) from error

    def answers(
        self,
        model: str,
        release: int,
        interface: Interface,
        items: Iterable[tuple[str, NDArray[Any]]],
    ) -> list[Answer]:
        """See Endpoints: over gRPC."""
        from infra.inference import score

        return score(
            self._address(self._settings.grpc_address, model, release),
            model,
            interface,
            items,
            in_flight=_IN_FLIGHT,
            timeout_s=_GOLDEN_TIMEOUT_S,
            version=release,
        )

    def _address(self, template: str, model: str, release: int) -> str:
        return template.format(
            service=revision_name(model, release),
            namespace=self._settings.namespace,
            model=model,
            release=release,
        )
