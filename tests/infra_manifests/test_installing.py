"""What the page on installing tells people to write is what works."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from registry.settings import load_settings

from .rendering import CHECKOUT, KUBERNETES, built, kustomized, pods, templated, with_values

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (CHECKOUT / "docs/how-to/install-on-kubernetes.md").read_text()
DIGEST = "a" * 64


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [one.replace("sha256:...", f"sha256:{DIGEST}") for one in found]


def write(folder: Path, name: str, text: str) -> None:
    """The block, as if the checkout stood where the page says."""
    at = os.path.relpath(KUBERNETES, folder)
    (folder / name).write_text(re.sub(r"(\.\./)+sluice/infra/kubernetes", at, text))


def test_the_overlay_of_the_page_names_every_image(tmp_path: Path) -> None:
    overlay, settings, _ = blocks("yaml")
    write(tmp_path, "kustomization.yaml", overlay)
    write(tmp_path, "settings.yaml", settings)
    objects = built(tmp_path)
    assert "images.invalid" not in yaml.safe_dump_all(objects.values())
    # Nothing but images and settings is another than in the overlay.
    assert set(objects) == set(kustomized("overlays/prod"))
    file = tmp_path / "sluice.toml"
    file.write_text(objects["ConfigMap/sluice-settings"]["data"]["sluice.toml"])
    told = load_settings(file).kubernetes
    assert told.image.endswith(DIGEST)
    assert told.control_image.endswith(DIGEST)


def test_the_watch_of_another_model_is_its_own(tmp_path: Path) -> None:
    *_, watch = blocks("yaml")
    write(tmp_path, "kustomization.yaml", watch)
    (one,) = built(tmp_path).values()
    assert {"Deployment/drift-watch-lips": one} == {
        name: other
        for name, other in templated("--set", "driftWatch.models={lips}").items()
        if "drift-watch" in name
    }


def test_every_secret_that_is_named_is_made_on_the_page() -> None:
    made: dict[str, set[str]] = {}
    for text in blocks("bash"):
        for command in text.replace("\\\n", " ").splitlines():
            if match := re.search(r"create secret generic ([\w-]+)", command):
                keys = re.findall(r"--from-(?:literal|file) ([\w.-]+)", command)
                made.setdefault(match[1], set()).update(keys)
    told = load_default_secret()
    assert {"restricted-api", "text.key"} <= made[told]
    for spec in pods(with_values("values-dev.yaml")).values():
        for one in [*spec.get("initContainers", ()), *spec["containers"]]:
            for variable in one.get("env", ()):
                wanted = variable.get("valueFrom", {}).get("secretKeyRef")
                if wanted and not wanted.get("optional"):
                    assert wanted["key"] in made[wanted["name"]], wanted
        for volume in spec["volumes"]:
            for item in volume.get("secret", {}).get("items", ()):
                assert item["key"] in made[volume["secret"]["secretName"]], volume


def load_default_secret() -> str:
    from registry.kubernetes_settings import KubernetesSection

    return KubernetesSection().secret


@pytest.mark.parametrize("name", ["sluice-webhook", "sluice-object-store"])
def test_what_is_optional_is_said_to_be(name: str) -> None:
    assert f"`{name}`" in PAGE
