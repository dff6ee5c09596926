"""The chain behind a release that real engines made and serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_what_serves_is_whole_and_one_byte_breaks_it(home: Home) -> None:
    value = home.json("verify", MODEL)
    assert value["whole"], value["first_break"]
    links = {link["link"]: link for link in value["links"]}
    assert links["revision"]["detail"] == "ready, version and golden answers are the gate's"
    assert {link["state"] for link in value["links"]} == {"ok"}
    live = home.json("status", MODEL)["models"][0]["live"]
    config = home.root / ".sluice" / "repository" / MODEL / "configs" / f"r{live}.pbtxt"
    before, mode = config.read_bytes(), config.stat().st_mode
    config.chmod(0o644)
    try:
        config.write_bytes(before + b"\n")
        broken = home.json("verify", MODEL, expect=1)["first_break"]
    finally:
        config.write_bytes(before)
        config.chmod(mode)
    assert (broken["link"], broken["of"]) == ("bytes", f"{MODEL} {live}")
