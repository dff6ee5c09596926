"""One front door for a module's tests, one set of toy networks for all; names of a test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .parts import make_networks
from .toys import open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parts import Networks
    from .toys import Door


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return make_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model name that no other test uses."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")
    return str(name)[:40].strip("-")
