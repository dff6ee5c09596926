"""What is installed, as a CycloneDX bill of materials, from the locks alone.

`python -m infra.bill_of_materials [FILE]` writes the project's own. The hashes of every package
stand in the locks; a lock's hash stands in the bill.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from infra.environments.locks import ENVIRONMENTS
from registry.errors import PermanentEngineError
from registry.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from infra.environments.locks import Environment

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
ENVIRONMENT = "sluice:environment"
LOCK = "sluice:lock:sha256"


def packages(environment: Environment) -> tuple[tuple[str, str], ...]:
    """Name and version of everything that the environment's lock names, sorted."""
    text = "\n".join([environment.lock.read_text(), *environment.extra])
    return tuple(sorted(set(_PINNED.findall(text))))


def components(environments: Iterable[Environment]) -> tuple[Component, ...]:
    """A library for each package and version, with the environments that hold it."""
    held: dict[tuple[str, str], list[str]] = {}
    for environment in environments:
        for package in packages(environment):
            held.setdefault(package, []).append(environment.name)
    return tuple(
        Component(
            name=name,
            version=release,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=release),
            bom_ref=f"pypi/{name}@{release}",
            properties=[Property(name=ENVIRONMENT, value=value) for value in names],
        )
        for (name, release), names in sorted(held.items())
    )


def lock_properties(environments: Iterable[Environment]) -> list[Property]:
    """The hash of each environment's lock."""
    return [
        Property(name=f"{LOCK}:{environment.name}", value=environment.lock_hash)
        for environment in environments
    ]


def to_json(bom: Bom, **of_subject: Any) -> str:
    """The bill, with `of_subject` added to what it is about; checked against CycloneDX 1.6.

    Raises PermanentEngineError when it does not hold: the library and the schema disagree.
    """
    value = json.loads(JsonV1Dot6(bom).output_as_string())
    value["metadata"]["component"] |= of_subject
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise PermanentEngineError(f"the bill of materials is not CycloneDX 1.6: {wrong}"[:500])
    return text + "\n"


def project_bill() -> str:
    """The bill of Sluice itself with all its environments."""
    bom = Bom(components=components(ENVIRONMENTS))
    bom.metadata.component = Component(
        name="sluice",
        version=version("sluice"),
        type=ComponentType.APPLICATION,
        bom_ref="sluice",
        properties=lock_properties(ENVIRONMENTS),
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    return to_json(bom)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_atomic(Path(sys.argv[1]), project_bill().encode())
    else:
        sys.stdout.write(project_bill())
