"""The stack on one machine: digests, no plain secrets, nobody is root, and loopback alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "infra/images"
FILE = IMAGES / "compose.yaml"
SECRETS = IMAGES / "secrets"
BASES = dict.fromkeys(re.findall(r"\$\{(\w+):\?", FILE.read_text()), f"x@sha256:{'0' * 64}")
SCRIPTS = sorted((IMAGES / "compose").glob("*.sh"))

Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture(scope="module")
def services(stack: dict[str, Any]) -> Services:
    found: Services = stack["services"]
    return found


def test_the_whole_stack_is_there(services: Services) -> None:
    assert set(services) == {
        "postgresql",
        "mlflow",
        "prefect-server",
        "prefect-worker",
        "platform",
        "prometheus",
        "grafana",
        "otel-collector",
    }


def test_no_image_is_a_tag(services: Services) -> None:
    """An image is a variable that must be set; bases.env and build.sh give digests."""
    for name, one in services.items():
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", one["image"]), name
    named = {match for one in services.values() for match in re.findall(r"\{(\w+):", one["image"])}
    given = (IMAGES / "bases.env").read_text() + (IMAGES / "build.sh").read_text()
    assert {name for name in named if name not in given} == set()


def test_nobody_is_root_or_may_become_it(services: Services) -> None:
    for name, one in services.items():
        assert int(one["user"].partition(":")[0]) > 0, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert one["read_only"] is True, name
        assert not one.get("privileged"), name
        assert one["mem_limit"], name
        assert one["pids_limit"], name
        assert "docker.sock" not in str(one.get("volumes")), name


def test_what_listens_listens_on_this_machine_alone(services: Services) -> None:
    published = [port for one in services.values() for port in one.get("ports", ())]
    assert len(published) >= 5
    assert not [port for port in published if not port.startswith("127.0.0.1:")]
    assert not [name for name, one in services.items() if one.get("network_mode") == "host"]


def test_no_secret_stands_in_the_file(stack: dict[str, Any], services: Services) -> None:
    for name, one in services.items():
        for variable, value in one.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|AUTH_STRING", variable):
                assert str(value).startswith("/run/secrets/"), (name, variable)
        assert set(one.get("secrets", ())) <= set(stack["secrets"]), name
    assert {list(one) == ["file"] for one in stack["secrets"].values()} == {True}
    assert not re.search(r"://[^/\s:@$]+:[^/\s@$]+@", FILE.read_text())
    # The folder is nobody's to commit.
    done = subprocess.run(
        ["git", "check-ignore", "--quiet", str(SECRETS / "database")],  # noqa: S607
        cwd=CHECKOUT,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    read = {
        name for path in SCRIPTS for name in re.findall(r"/run/secrets/([\w-]+)", path.read_text())
    }
    assert read <= set(stack["secrets"])


def test_each_is_asked_whether_it_is_well(services: Services) -> None:
    silent = {name for name, one in services.items() if "test" not in one.get("healthcheck", {})}
    # The collector's image holds nothing that could ask.
    assert silent == {"otel-collector"}
    for name, one in services.items():
        for needed, how in one.get("depends_on", {}).items():
            assert needed in services, name
            assert how == {"condition": "service_healthy"}, name


def test_what_is_mounted_is_there(stack: dict[str, Any], services: Services) -> None:
    for name, one in services.items():
        for mount in one.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (IMAGES / source).exists(), (name, source)
                assert mount.endswith(":ro"), (name, mount)
            else:
                assert source in stack["volumes"], (name, source)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_shell_and_stop_at_the_first_failure(path: Path) -> None:
    subprocess.run(["/bin/sh", "-n", path], check=True, timeout=30)
    assert path.name == "variables.sh" or "\nset -eu\n" in path.read_text()
    mounted = f"./compose/{path.name}:"
    assert mounted in FILE.read_text()


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    for source in (IMAGES / "compose/prometheus.yml", CHECKOUT / "infra/prometheus/rules.yml"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_takes_the_file() -> None:
    if shutil.which("docker") is None or _compose("version").returncode:
        pytest.skip(
            "no Compose: apt-get install docker-compose (Debian 13, or Docker's repository)"
        )
    done = _compose("--file", str(FILE), "config", "--quiet")
    assert done.returncode == 0, done.stderr


def _compose(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *words],  # noqa: S607
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **BASES},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
