"""`[kubernetes]` takes what can be pinned and refuses the rest, naming the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry.errors import UserError
from registry.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from registry.kubernetes_settings import KubernetesSection

PINNED = f"registry.example.org:5000/sluice/serving@sha256:{'a' * 64}"


def load(folder: Path, text: str) -> KubernetesSection:
    (folder / "sluice.toml").write_text(text)
    return load_settings(folder / "sluice.toml").kubernetes


def test_without_a_word_it_is_whole_but_for_what_has_no_default(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert (settings.namespace, settings.route) == ("sluice", "gateway-api")
    assert (settings.image, settings.control_image, settings.repository) == ("", "", "")


def test_a_pool_is_read_as_it_is_written(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        f"""
        [kubernetes]
        image = "{PINNED}"
        [kubernetes.pools.gpu]
        node_selector = {{ "sluice.dev/pool" = "gpu" }}
        tolerations = [{{ key = "nvidia.com/gpu", effect = "NoSchedule" }}]
        resources = {{ "nvidia.com/gpu" = 2 }}
        """,
    )
    pool = settings.pools["gpu"]
    assert (settings.image, pool.resources) == (PINNED, {"nvidia.com/gpu": 2})
    assert pool.tolerations[0].operator == "Exists"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('image = "nvcr.io/nvidia/tritonserver:26.10-py3"', "a tag may move"),
        ('control_image = "sluice"', "a tag may move"),
        (f'image = "sluice@sha256:{"a" * 63}"', "kubernetes.image"),
        ('repository = "file:///models"', "kubernetes.repository"),
        ('repository = "pvc:models/../keys"', "kubernetes.repository"),
        ('predictions = "s3://log"', "kubernetes.predictions"),
        ('namespace = "Speech"', "kubernetes.namespace"),
        ('grpc_address = "{pod}:8001"', "may hold {service}"),
        ('route = "nginx"', "'gateway-api' or 'istio'"),
        ("replicas = 5", "replicas must not be more than most_replicas"),
        ("memory_headroom = 0.5", "at least 1"),
    ],
)
def test_what_cannot_hold_is_refused(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, f"[kubernetes]\n{line}\n")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
