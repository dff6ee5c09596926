"""Pod Security "restricted", as Kubernetes states it.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (all of "Baseline" that
concerns Linux pods, and all of "Restricted").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    }
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
HOOKS = ("startupProbe", "readinessProbe", "livenessProbe")


def violations(spec: dict[str, Any]) -> list[str]:
    """What in a pod's spec is not allowed; empty when the pod may come in."""
    return [*_of_pod(spec), *(found for one in _containers(spec) for found in _of_one(one, spec))]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    lists = ("initContainers", "containers", "ephemeralContainers")
    return [one for name in lists for one in spec.get(name, ())]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    context = spec.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", ()):
        if not VOLUMES.intersection(volume):
            yield f"volume {volume['name']}"
    for sysctl in context.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _of_context(context, "pod")


def _of_one(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    above = spec.get("securityContext", {})
    yield from _of_context(context, name)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield f"{name}: capabilities are not dropped"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities are added"
    if not context.get("runAsNonRoot", above.get("runAsNonRoot", False)):
        yield f"{name}: runAsNonRoot"
    if context.get("seccompProfile", above.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield f"{name}: seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name}: hostPort"
    hooks = [container.get(hook, {}) for hook in HOOKS]
    hooks += list(container.get("lifecycle", {}).values())
    if any(hook.get(how, {}).get("host") for hook in hooks for how in ("httpGet", "tcpSocket")):
        yield f"{name}: a probe's host"


def _of_context(context: dict[str, Any], name: str) -> Iterator[str]:
    """What pods and containers may both say."""
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser 0"
    if context.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot is false"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name}: seccompProfile is {context['seccompProfile']['type']}"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
        yield f"{name}: appArmorProfile"
    linux = context.get("seLinuxOptions", {})
    if linux.get("type", "") not in SELINUX_TYPES or linux.get("user") or linux.get("role"):
        yield f"{name}: seLinuxOptions"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{name}: hostProcess"
