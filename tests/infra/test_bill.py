from __future__ import annotations

import json
import re

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component

from infra.bill_of_materials import packages, project_bill, to_json
from infra.environments.locks import CONTROL, CONVERTER, ENVIRONMENTS, SCANNERS
from registry.errors import PermanentEngineError


def test_every_line_of_every_lock_is_in_the_projects_bill() -> None:
    bill = json.loads(project_bill())
    held = {(one["name"], one["version"]): one for one in bill["components"]}
    for environment in ENVIRONMENTS:
        lines = re.findall(r"^\S+==\S+", environment.lock.read_text(), re.MULTILINE)
        assert len(packages(environment)) == len(lines) + len(environment.extra)
        for package in packages(environment):
            named = {one["value"] for one in held[package]["properties"]}
            assert environment.name in named
    subject = bill["metadata"]["component"]
    locks = {one["name"]: one["value"] for one in subject["properties"]}
    assert locks["sluice:lock:sha256:control"] == CONTROL.lock_hash
    assert len(bill["dependencies"][-1]["dependsOn"]) == len(bill["components"])


def test_what_stands_beside_the_lock_is_in_it_too() -> None:
    assert ("torch", "2.13.0") in packages(CONVERTER)
    assert {"fickling", "modelscan"} <= {name for name, _ in packages(SCANNERS)}


def test_what_is_not_cyclonedx_is_never_given_out() -> None:
    bom = Bom()
    bom.metadata.component = Component(name="x")
    with pytest.raises(PermanentEngineError, match=r"is not CycloneDX 1\.6"):
        to_json(bom, modelCard={"modelParameters": 3})
