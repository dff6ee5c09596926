from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.catalog import Catalog
from registry.errors import UserError
from registry.journal import Entry

ONE, TWO, REPORT = "1" * 64, "2" * 64, "a" * 64


def entries(*facts: tuple[str, dict[str, Any]]) -> list[Entry]:
    return [
        Entry(number, "m", kind, float(number), "tester", body, "", "")
        for number, (kind, body) in enumerate(facts, start=1)
    ]


def fold(*facts: tuple[str, dict[str, Any]]) -> Catalog:
    return Catalog.fold(entries(*facts))


def artifact(digest: str, version: str) -> tuple[str, dict[str, Any]]:
    return "artifact-registered", {"digest": digest, "version": version, "run_id": f"run-{version}"}


def variant(digest: str, *, of: str = ONE, name: str = "onnx-fp32", key: str = "k") -> Any:
    body = {"digest": digest, "artifact": of, "variant": name, "recipe_key": key}
    return "variant-converted", body | {"format": "onnx", "precision": "fp32", "bytes": 5}


def gate(digest: str, verdict: str, *, of: str = ONE) -> tuple[str, dict[str, Any]]:
    body = {"variant_digest": digest, "artifact": of, "variant": "onnx-fp32", "verdict": verdict}
    return "gate-decided", body | {"report_digest": REPORT, "metrics": {"wer": 0.1}}


def release(kind: str, number: int, digest: str = ONE) -> tuple[str, dict[str, Any]]:
    body = {"release": number, "variant_digest": digest, "report_digest": REPORT}
    return f"release-{kind}", body | {"artifact": ONE, "variant": "v", "manifest_digest": TWO}


def test_nothing_is_known_at_first() -> None:
    catalog = fold()
    assert catalog == Catalog()
    assert catalog.next_release == 1
    assert catalog.find_recipe("k") is None
    assert catalog.find_variant(ONE, "onnx-fp32") is None
    assert catalog.newest_gate(ONE) is None
    assert catalog.passed_gates(ONE) == ()
    for missing in (catalog.require_recipe, catalog.variant_by_digest):
        with pytest.raises(KeyError):
            missing("k")
    with pytest.raises(UserError, match="no release 1; there are none"):
        catalog.require_release("m", 1)


def test_an_artifact_registered_again_is_the_newest() -> None:
    catalog = fold(artifact(ONE, "1"), artifact(TWO, "2"), artifact(ONE, "1"))
    assert list(catalog.artifacts) == [TWO, ONE]
    assert catalog.artifacts[ONE].run_id == "run-1"


def test_the_newest_conversion_is_found() -> None:
    catalog = fold(variant(ONE), variant(TWO), variant("3" * 64, key="other", name="openvino"))
    assert catalog.require_recipe("k").digest == TWO
    found = catalog.find_variant(ONE, "onnx-fp32")
    assert found is not None
    assert found.digest == TWO
    assert catalog.variant_by_digest(ONE).bytes == 5


def test_only_the_last_verdict_counts() -> None:
    catalog = fold(
        gate(ONE, "pass"), gate(TWO, "fail"), gate(TWO, "pass"), gate(ONE, "inconclusive")
    )
    assert [passed.variant_digest for passed in catalog.passed_gates(ONE)] == [TWO]
    assert catalog.passed_gates(TWO) == ()
    newest = catalog.newest_gate(ONE)
    assert newest is not None
    assert newest.verdict == "inconclusive"


def test_a_release_is_reserved_and_then_published() -> None:
    reserved = fold(release("reserved", 1))
    assert reserved.reserved_release(ONE, REPORT) == 1
    assert reserved.release_of(ONE, REPORT) is None
    assert reserved.next_release == 2
    published = fold(release("reserved", 1), release("published", 1))
    assert published.reserved_release(ONE, REPORT) is None
    found = published.release_of(ONE, REPORT)
    assert found is not None
    assert published.require_release("m", 1) == found
    assert found.manifest_digest == TWO
    assert published.reserved_release(TWO, REPORT) is None


@given(st.lists(st.tuples(st.sampled_from(["reserved", "published"]), st.integers(1, 50))))
def test_a_release_number_is_never_given_out_twice(facts: list[tuple[str, int]]) -> None:
    catalog = fold(*(release(kind, number) for kind, number in facts))
    assert catalog.next_release > max((number for _, number in facts), default=0)


def test_what_other_rooms_journal_is_passed_over() -> None:
    assert fold(("rollout-started", {"rollout": "x"}), ("made-up", {})) == Catalog()


def test_its_kinds_are_all_that_it_takes() -> None:
    taken = re.findall(r'case "([a-z-]+)"', inspect.getsource(Catalog.take))
    assert tuple(taken) == Catalog.KINDS
