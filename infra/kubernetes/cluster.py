"""One namespace of one Kubernetes cluster: get, list, apply, delete.

Nothing is watched or remembered, so no watch has gaps and no list is stale: each read asks the
API server for what is stored now. It knows no revision and no route.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from infra.kubernetes.api_server import AbsentError, ApiServer, ForgottenError, Request
from infra.kubernetes.kinds import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    DESTINATION_RULE,
    DISRUPTION_BUDGET,
    ENVOY_FILTER,
    GATEWAY,
    GRPC_ROUTE,
    HTTP_ROUTE,
    KINDS,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from registry.errors import PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registry.kubernetes_settings import KubernetesSection

__all__ = ["AUTOSCALER", "CONFIG_MAP", "DEPLOYMENT", "DESTINATION_RULE", "DISRUPTION_BUDGET"]
__all__ += ["ENVOY_FILTER", "GATEWAY", "GRPC_ROUTE", "HTTP_ROUTE", "NETWORK_POLICY", "POD"]
__all__ += ["SECRET", "SERVICE", "VIRTUAL_SERVICE", "Cluster", "Kind"]

FIELD_MANAGER = "sluice"
"""Whose fields ours are: what this manager no longer applies goes away, others' fields stay."""
_PAGE = 500
_LIST_STARTS = 3
"""How often a list is begun anew whose next page the server has forgotten (410)."""
_POLL_S = 0.25


class Cluster:
    """The namespace `namespace` of one API server."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self._server = server
        self.namespace = namespace

    @classmethod
    def connect(cls, settings: KubernetesSection) -> Self:
        """The cluster that the settings name; inside one and without a `context`, that one.

        Asks nobody yet. Raises PermanentEngineError when no credentials can be read.
        """
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration

        configuration = Configuration()
        try:
            if not settings.context and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            else:
                config.load_kube_config(  # type: ignore[no-untyped-call]
                    context=settings.context or None, client_configuration=configuration
                )
        except (config.ConfigException, OSError, ValueError) as error:
            raise PermanentEngineError(
                f"no credentials for the cluster: {error}",
                where="[kubernetes] context",
                remedy="set KUBECONFIG, or name one of `kubectl config get-contexts`",
            ) from error
        configuration.retries = False  # Tries are counted in `ApiServer`, and there only.
        return cls(ApiServer(ApiClient(configuration)), settings.namespace)

    def get(self, kind: Kind, name: str) -> Mapping[str, Any] | None:
        """The object, None when there is none. Raises EngineError."""
        try:
            return self._server.ask(self._request("GET", kind, name))
        except AbsentError:
            return None

    def list(self, kind: Kind, labels: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
        """Every object that has these labels, by name. Raises EngineError."""
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        for _ in range(_LIST_STARTS):
            with suppress(ForgottenError):
                return tuple(
                    sorted(
                        self._items(kind, selector), key=lambda one: str(one["metadata"]["name"])
                    )
                )
        raise RetryableEngineError(
            f"the list of {kind.plural} changed faster than it could be read",
            where=self._where(kind, ""),
            remedy="try again",
        )

    def apply(
        self, manifest: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Mapping[str, Any]:
        """Server-side apply: the object as it is stored then, made where it was missing.

        Fields that were applied before and are not in `manifest` go away; fields of others stay.
        With a `resource_version`, only if the object is still that one: RacedError otherwise, and
        nothing has changed. Raises EngineError.
        """
        kind = KINDS[str(manifest["apiVersion"]), str(manifest["kind"])]
        metadata = dict(manifest["metadata"]) | {"namespace": self.namespace}
        if resource_version is not None:
            metadata["resourceVersion"] = resource_version
        return self._server.ask(
            self._request(
                "PATCH",
                kind,
                str(metadata["name"]),
                query=(("fieldManager", FIELD_MANAGER), ("force", "true")),
                body=json.dumps(dict(manifest) | {"metadata": metadata}),
                content_type="application/apply-patch+yaml",
                swap=resource_version is not None,
            )
        )

    def delete(self, kind: Kind, name: str, *, wait_s: float = 0.0) -> None:
        """Delete the object and what it owns; absent already: does nothing.

        With `wait_s`, returns once it is gone. Raises RetryableEngineError when it is still there
        after so many seconds, and EngineError.
        """
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        with suppress(AbsentError):
            self._server.ask(self._request("DELETE", kind, name, body=json.dumps(options)))
        deadline = time.monotonic() + wait_s
        while wait_s and self.get(kind, name) is not None:
            if time.monotonic() >= deadline:
                raise RetryableEngineError(
                    f"still there after {wait_s:g} s",
                    where=self._where(kind, name),
                    remedy=f"`kubectl describe {kind.plural} {name}` shows what holds it",
                )
            time.sleep(_POLL_S)

    def _items(self, kind: Kind, selector: str) -> Iterator[Mapping[str, Any]]:
        """What every page of a list holds. Raises ForgottenError when one was forgotten."""
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = self._server.ask(self._request("GET", kind, "", query=tuple(query.items())))
            yield from page["items"]
            following = str(page["metadata"].get("continue") or "")
            if not following:
                return
            query["continue"] = following

    def _request(self, method: str, kind: Kind, name: str, **options: Any) -> Request:
        base = f"/apis/{kind.group}" if kind.group else "/api"
        path = f"{base}/{kind.version}/namespaces/{self.namespace}/{kind.plural}"
        return Request(
            method, f"{path}/{name}" if name else path, self._where(kind, name), **options
        )

    def _where(self, kind: Kind, name: str) -> str:
        return f"{kind.name} {self.namespace}/{name}".rstrip("/")
