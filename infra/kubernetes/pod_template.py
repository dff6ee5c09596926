"""The pod of a revision: a check of the release's bytes, then one Triton that loads it.

Pure: values in, plain objects out. The pod keeps to Kubernetes' Pod Security standard
"restricted", writes to no disk but its own scratch, and knows no account of the cluster.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from infra.kubernetes.names import FETCH, MODEL_ANNOTATION, SERVER, revision_labels
from infra.kubernetes.pod_volumes import (
    KEYS,
    PREDICTIONS,
    RECORD_ANNOTATION,
    REPOSITORY,
    ROOT_ANNOTATION,
    SCRATCH,
    SHARED_MEMORY,
    SOURCE,
    TRUST,
    claimed,
    mebibytes,
    mount,
    volumes,
)
from model_repository.programs.common.fingerprint import KEY_VARIABLE
from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from infra.kubernetes.revision_spec import RevisionSpec
    from registry.kubernetes_settings import KubernetesSection

Json = dict[str, Any]

HTTP, GRPC, METRICS = 8000, 8001, 8002
"""Ports of Triton."""
DIGEST_ANNOTATION = "sluice.dev/manifest-digest"
SECRET_HEADER = "x-sluice-secret"  # noqa: S105 - a header's name
RESTRICTED = "model-repository,shared-memory,trace,logging"
FORWARDED_HEADERS = "(?i)x-(request-id|session-id|sluice-shadow)"
PREDICTION_LOG_VARIABLE = "SLUICE_PREDICTION_LOG"
_SECRET_VARIABLE = "SLUICE_RESTRICTED_API"  # noqa: S105 - a variable's name
_USER = 10001
_DRAIN_S = 10
"""For so long a stopping pod goes on answering, while proxies learn that it stops."""
_EXIT_S = 30
"""Requests in flight may then still end; a stream of audio may take that long."""
_PROBE_S = 5


def pod_template(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    """`spec.template` of the revision's Deployment."""
    return {
        "metadata": {
            "labels": dict(revision_labels(spec.model, spec.release)),
            "annotations": {
                MODEL_ANNOTATION: spec.model,
                DIGEST_ANNOTATION: spec.manifest_digest,
                RECORD_ANNOTATION: spec.record,
                ROOT_ANNOTATION: spec.root,
            },
        },
        "spec": {
            "serviceAccountName": settings.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _DRAIN_S + _EXIT_S + _PROBE_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [_fetch(spec, settings)],
            "containers": [_server(spec, settings)],
            "volumes": volumes(spec, settings),
            **_placement(spec),
        },
    }


def _fetch(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    on_claim = settings.repository.startswith("pvc:")
    mounts = [mount("repository", REPOSITORY), mount("trust", TRUST, read_only=True)]
    if on_claim:
        mounts.append(claimed("source", SOURCE, settings.repository, REPOSITORY, read_only=True))
    return {
        "name": FETCH,
        "image": settings.control_image,
        "command": ["python", "-m", "infra.kubernetes.fetch_release"],
        "args": [
            f"--source={SOURCE if on_claim else settings.repository}",
            f"--model={spec.model}",
            f"--release={spec.release}",
            f"--digest={spec.manifest_digest}",
            f"--trust={TRUST}",
            f"--target={REPOSITORY}",
            "--tell=/dev/termination-log",
        ],
        "env": [{"name": name, "value": value} for name, value in sorted(_QUIET.items())],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": _locked_down(),
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, mount("scratch", SCRATCH)],
    }


def _server(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    mounts = [
        mount("repository", REPOSITORY, read_only=True),
        mount("scratch", SCRATCH),
        mount("shared-memory", "/dev/shm"),  # noqa: S108 - in the pod
    ]
    if settings.predictions:
        mounts += [
            claimed("predictions", PREDICTIONS, settings.predictions, PREDICTIONS),
            mount("keys", KEYS, read_only=True),
        ]
    return {
        "name": SERVER,
        "image": spec.pool.image or settings.image,
        "command": ["tritonserver"],
        "args": list(server_arguments(spec)),
        "env": _environment(settings),
        "ports": [
            {"name": "http", "containerPort": HTTP, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS, "protocol": "TCP"},
        ],
        # Warm-up may take minutes; until it ended, nobody asks whether the server lives.
        "startupProbe": _probe("ready", math.ceil(settings.start_s / _PROBE_S)),
        "readinessProbe": _probe("ready", 2),
        "livenessProbe": _probe("live", 6),
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", str(_DRAIN_S)]}}},
        "resources": _resources(spec, settings),
        "securityContext": _locked_down(),
        # Triton says in its log why a model did not load.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def server_arguments(spec: RevisionSpec) -> tuple[str, ...]:
    """Triton's options: those of a revision on one machine, as far as they hold in a pod.

    A model that does not load ends the server here, so that the kubelet tells it and tries again.
    """
    return (
        f"--model-repository={REPOSITORY}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in spec.triton_models),
        f"--model-config-name=r{spec.release}",
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        f"--exit-timeout-secs={_EXIT_S}",
        *([f"--cache-config=local,size={spec.cache_bytes}"] if spec.cache_bytes else []),
        f"--http-port={HTTP}",
        f"--grpc-port={GRPC}",
        f"--metrics-port={METRICS}",
        f"--http-header-forward-pattern={FORWARDED_HEADERS}",
        f"--grpc-header-forward-pattern={FORWARDED_HEADERS}",
        f"--http-restricted-api={RESTRICTED}:{SECRET_HEADER}=$({_SECRET_VARIABLE})",
        f"--grpc-restricted-protocol={RESTRICTED}:{SECRET_HEADER}=$({_SECRET_VARIABLE})",
        "--log-info=true",
    )


_QUIET = {**QUIET_ENVIRONMENT, "HOME": SCRATCH, "PYTHONDONTWRITEBYTECODE": "1"}


def _environment(settings: KubernetesSection) -> list[Json]:
    plain = {**_QUIET, "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
    if settings.predictions:
        plain |= {PREDICTION_LOG_VARIABLE: PREDICTIONS, KEY_VARIABLE: f"{KEYS}/text.key"}
    secret = {"secretKeyRef": {"name": settings.secret, "key": "restricted-api"}}
    return [
        {"name": _SECRET_VARIABLE, "valueFrom": secret},
        *({"name": name, "value": value} for name, value in sorted(plain.items())),
    ]


def _resources(spec: RevisionSpec, settings: KubernetesSection) -> Json:
    """The measured footprint with its headroom; what lies in shared memory counts as well."""
    held = spec.memory_bytes + spec.cache_bytes
    limit = math.ceil(held * settings.memory_headroom) + SHARED_MEMORY
    devices = {name: str(count) for name, count in sorted(spec.pool.resources.items())}
    return {
        "requests": {"cpu": str(spec.cores), "memory": mebibytes(held), **devices},
        # No limit of cores: one that waits for its next slice answers late.
        "limits": {"memory": mebibytes(limit), **devices},
    }


def _placement(spec: RevisionSpec) -> Json:
    """On which nodes it may stand; spread over them, cheap ones first where the pool has some."""
    placed: Json = {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(revision_labels(spec.model, spec.release))},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    }
    if spec.pool.node_selector:
        placed["nodeSelector"] = dict(spec.pool.node_selector)
    if spec.pool.tolerations:
        placed["tolerations"] = [
            {name: value for name, value in one.model_dump().items() if value}
            for one in spec.pool.tolerations
        ]
    if spec.pool.spot:
        wanted = [
            {"key": key, "operator": "In", "values": [value]}
            for key, value in sorted(spec.pool.spot.items())
        ]
        preferred = {"weight": 100, "preference": {"matchExpressions": wanted}}
        placed["affinity"] = {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}
        }
    return placed


def _probe(what: str, failures: int) -> Json:
    return {
        "httpGet": {"path": f"/v2/health/{what}", "port": "http"},
        "periodSeconds": _PROBE_S,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _locked_down() -> Json:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
