"""A Kubernetes API server over HTTP for tests: kmock's, with apply, and faults to order.

Objects are kept, have a `resourceVersion` and a `generation`, and go when they are deleted. What
the official client sends is what a real server would get; what such a server refuses by its
schemas is not refused here (`kubernetes_validate` and the CRDs' schemas do that in other tests).
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp.web
from kmock import KubernetesEmulator, ResourceInfo, Server, action, resource
from kubernetes.client import ApiClient, Configuration

from infra.kubernetes.api_server import ApiServer
from infra.kubernetes.cluster import Cluster
from infra.kubernetes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from infra.kubernetes.kinds import Kind

NAMESPACE = "speech"


@dataclass
class Fault:
    """The next `times` requests that match are answered with `status`.

    `method` and `plural` are compared when they are not empty. With `after`, what was asked is
    done, and only the answer is lost. `retry_after` is sent as that header.
    """

    status: int
    method: str = ""
    plural: str = ""
    times: int = 1
    retry_after: str = ""
    message: str = "on purpose"
    after: bool = False


@dataclass
class FakeCluster:
    """What tests hold of the server: its objects, what was asked, what shall go wrong."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    down: bool = False
    """Whether connections are cut without an answer."""
    answers: int = -1
    """How many requests it still answers before it goes `down`; negative: all."""
    page: int = 500
    """The most objects that one page of a list holds."""
    forget_pages: int = 0
    """How many next pages are answered with 410."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, plural, name) of every request, in order."""
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By (plural, name); tests may change them, and `put` what no client applied."""
    applied: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What was applied last, by the same key."""
    controllers: list[Callable[[FakeCluster], None]] = field(default_factory=list)
    """Called after every change and before every read, as a cluster's controllers would act."""
    version: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def client(self, *, attempts: int = 3, timeout_s: float = 5.0) -> Cluster:
        """The product's cluster on this server, with short waits."""
        configuration = Configuration(host=self.url)
        configuration.retries = False
        server = ApiServer(
            ApiClient(configuration), attempts=attempts, timeout_s=timeout_s, first_wait_s=0.001
        )
        return Cluster(server, NAMESPACE)

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The stored object itself."""
        return self.objects.get((kind.plural, name))

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Of every stored object of the kind."""
        return tuple(sorted(name for plural, name in self.objects if plural == kind.plural))

    def put(self, kind: Kind, content: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as somebody else's; its `status` and all."""
        made = {"apiVersion": kind.api_version, "kind": kind.name} | copy.deepcopy(dict(content))
        self.stored((kind.plural, made["metadata"]["name"]), made)
        return made

    def stored(self, key: tuple[str, str], content: dict[str, Any]) -> None:
        """Keep `content` with the server's own metadata."""
        with self.lock:
            before = self.objects.get(key)
            self.version += 1
            metadata = content.setdefault("metadata", {})
            old = {} if before is None else before["metadata"]
            changed = before is None or before.get("spec") != content.get("spec")
            metadata["namespace"] = NAMESPACE
            metadata["resourceVersion"] = str(self.version)
            metadata["uid"] = old.get("uid", f"uid-{self.version}")
            metadata["generation"] = int(old.get("generation", 0)) + changed
            metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            self.objects[key] = content

    def act(self) -> None:
        """Let the cluster's controllers act."""
        with self.lock:
            for controller in self.controllers:
                controller(self)


class Emulator(KubernetesEmulator):
    """kmock's emulator, with apply, label selectors, pages and faults; objects are the test's."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__()
        self.cluster = cluster

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        cluster = self.cluster
        plural, name = (request.resource.plural if request.resource else ""), request.name or ""
        cluster.asked.append((str(request.method.value), plural, name))
        cluster.down = cluster.down or cluster.answers == 0
        cluster.answers -= cluster.answers > 0
        if cluster.down:
            request._raw_request.transport.abort()
            return aiohttp.web.Response(status=500)
        fault = self._fault(str(request.method.value), plural)
        if fault is not None and not fault.after:
            return _refused(fault.status, fault.message, fault.retry_after)
        answer = self._answer(request, plural, name)
        if fault is not None:
            return _refused(fault.status, fault.message, fault.retry_after)
        return answer

    def _fault(self, method: str, plural: str) -> Fault | None:
        for fault in self.cluster.faults:
            if fault.times and fault.method in {"", method} and fault.plural in {"", plural}:
                fault.times -= 1
                return fault
        return None

    def _answer(self, request: Any, plural: str, name: str) -> aiohttp.web.Response:
        cluster = self.cluster
        with cluster.lock:
            if plural not in {kind.plural for kind in KINDS.values()}:
                return _refused(404, "the server could not find the requested resource")
            cluster.act()
            if request.action == action.LIST:
                return self._list(request, plural)
            if request.action == action.UPDATE:
                answer = self._apply(request, plural, name)
                cluster.act()
                return answer
            found = cluster.objects.get((plural, name))
            if found is None:
                return _refused(404, f'{plural} "{name}" not found')
            if request.action == action.DELETE:
                if found["metadata"].get("finalizers"):
                    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                else:
                    del cluster.objects[plural, name]
                    cluster.applied.pop((plural, name), None)
                cluster.act()
            return aiohttp.web.json_response(found)

    def _list(self, request: Any, plural: str) -> aiohttp.web.Response:
        cluster = self.cluster
        wanted = dict(
            part.split("=", 1)
            for part in request.params.get("labelSelector", "").split(",")
            if part
        )
        items = [
            one
            for (of, _), one in cluster.objects.items()
            if of == plural and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        start = int(request.params.get("continue", "0"))
        if start and cluster.forget_pages:
            cluster.forget_pages -= 1
            return _refused(410, "the provided continue parameter is too old")
        end = start + min(cluster.page, int(request.params.get("limit", "500")))
        metadata = {"resourceVersion": str(cluster.version)}
        if end < len(items):
            metadata["continue"] = str(end)
        return aiohttp.web.json_response({"metadata": metadata, "items": items[start:end]})

    def _apply(self, request: Any, plural: str, name: str) -> aiohttp.web.Response:
        cluster, key = self.cluster, (plural, name)
        assert request.headers["Content-Type"] == "application/apply-patch+yaml"
        assert request.params == {"fieldManager": "sluice", "force": "true"}
        manifest = json.loads(request.text)
        asked = manifest["metadata"].pop("resourceVersion", None)
        current = cluster.objects.get(key)
        known = None if current is None else current["metadata"]["resourceVersion"]
        if asked is not None and asked != known:
            return _refused(409, "the object has been modified; please apply your changes to it")
        content = _stripped(copy.deepcopy(current or {}), cluster.applied.get(key, {}), manifest)
        content = _merged(content, manifest)
        cluster.applied[key] = copy.deepcopy(manifest)
        if content != current:
            cluster.stored(key, content)
        return aiohttp.web.json_response(cluster.objects[key], status=200 if current else 201)


def _refused(status: int, message: str, retry_after: str = "") -> aiohttp.web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "code": status, "message": message}
    headers = {"Retry-After": retry_after} if retry_after else {}
    return aiohttp.web.json_response(body, status=status, headers=headers)


def _stripped(
    content: dict[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """`content` without what was applied before and is no longer; lists are taken whole."""
    for key, old in before.items():
        if key not in now:
            content.pop(key, None)
        elif isinstance(old, dict) and isinstance(now[key], dict):
            content[key] = _stripped(content.get(key, {}), old, now[key])
    return content


def _merged(content: dict[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in manifest.items():
        if isinstance(value, dict):
            content[key] = _merged(content.get(key) or {}, value)
        else:
            content[key] = value
    return content


class RunningServer:
    """The server in a thread of its own, as a context."""

    def __init__(self, controllers: Sequence[Callable[[FakeCluster], None]] = ()) -> None:
        self.cluster = FakeCluster(controllers=list(controllers))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        emulator = Emulator(self.cluster)
        for kind in KINDS.values():
            emulator.resources[resource(kind.group, kind.version, kind.plural)] = ResourceInfo()
        async with emulator, Server(emulator) as server:
            self.cluster.url = str(server.url).rstrip("/")
            self._ready.set()
            await self._stop.wait()
