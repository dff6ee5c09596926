"""Sessions are parted exactly, by one rule each, and never go back while a weight grows."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.ports import Route, Share
from canary.split import SplitCheck
from infra.kubernetes.route_objects import rules_of
from infra.kubernetes.session_match import (
    BUCKETS,
    SESSION_HEADER,
    bucket_of,
    bucket_ranges,
    probe_session,
    session_pattern,
)
from infra.local.envoy import envoy_binary

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "3fa85f64-5717-4562-b3fc-2c963f66a"


@cache
def taken_by(start: int, end: int) -> frozenset[int]:
    """The buckets whose sessions the expression matches."""
    pattern = re.compile(session_pattern(start, end))
    return frozenset(
        bucket for bucket in range(BUCKETS) if pattern.fullmatch(f"{HEAD}{bucket:03x}")
    )


@pytest.mark.parametrize("weight", range(101))
def test_each_bucket_is_matched_once_and_the_share_is_right(weight: int) -> None:
    shares = tuple(one for one in (Share(7, 100 - weight), Share(8, weight)) if one.weight)
    taken = {release: taken_by(*span) for release, span in bucket_ranges(shares).items()}
    assert sorted(bucket for buckets in taken.values() for bucket in buckets) == [*range(BUCKETS)]
    for share in shares:
        assert abs(len(taken[share.release]) / BUCKETS - share.weight / 100) <= 1 / BUCKETS


def test_no_bucket_goes_back_while_the_last_weight_grows() -> None:
    before: frozenset[int] = frozenset()
    for weight in range(1, 100):
        now = taken_by(*bucket_ranges((Share(7, 100 - weight), Share(8, weight)))[8])
        assert before < now
        before = now


@settings(max_examples=30)
@given(st.integers(0, BUCKETS - 1), st.integers(1, BUCKETS))
def test_any_range_is_matched_whole_and_alone(start: int, length: int) -> None:
    end = min(BUCKETS, start + length)
    pattern = session_pattern(start, end)
    assert taken_by.__wrapped__(start, end) == frozenset(range(start, end))
    assert len(pattern) < 200
    for bucket in {start, end - 1}:
        assert re.fullmatch(pattern, f"{HEAD}{bucket:03x}".upper())
        assert re.fullmatch(pattern, f"{HEAD}{bucket:03x}".replace("-", ""))


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (9, 3), (-1, 3), (0, BUCKETS + 1)])
def test_an_empty_range_has_no_expression(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="no buckets"):
        session_pattern(start, end)


@settings(max_examples=30)
@given(st.sets(st.integers(1, 99), max_size=3).map(sorted))
def test_several_releases_part_all_buckets(cuts: list[int]) -> None:
    ends = zip([0, *cuts], [*cuts, 100], strict=True)
    shares = tuple(Share(number, end - start) for number, (start, end) in enumerate(ends))
    spans = sorted(bucket_ranges(shares).values())
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
    assert (spans[0][0], spans[-1][1]) == (0, BUCKETS)


@pytest.mark.parametrize(
    "session",
    [
        "session-17",
        "20261122000123",  # numbers are not uniform over hexadecimal tails
        "204bb201-e634-11f1-bf0d-000000000001",  # version 1 ends in a machine's address
        "d11ef6e5-460f-483d-8bcc-c47fc1211215-2",
        "x1edeec32-b117-42ff-8871-adf2263c3d2c",
        "",
    ],
)
def test_names_that_say_nothing_are_nobodys(session: str) -> None:
    assert bucket_of(session) is None
    rules = rules_of(Route("speech", (Share(1, 50), Share(2, 50)), 1), "http")
    parted = [rule for rule in rules if rule.buckets is not None]
    assert not any(
        re.fullmatch(session_pattern(*rule.buckets or (0, 1)), session) for rule in parted
    )


def test_what_the_product_takes_for_a_bucket_is_what_the_expressions_match() -> None:
    for number in range(300):
        session = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
        bucket = bucket_of(session)
        assert bucket is not None
        assert re.fullmatch(session_pattern(bucket, bucket + 1), session)
    assert [bucket_of(probe_session(bucket)) for bucket in (0, 409, 4095)] == [0, 409, 4095]


def test_uuids_give_the_share_that_the_split_check_expects() -> None:
    """And names that are cut from numbers would not: the check tells of them."""
    start, end = bucket_ranges((Share(1, 90), Share(2, 10)))[2]
    random = np.random.default_rng(5)
    sessions = [uuid.UUID(bytes=random.bytes(16), version=4) for _ in range(6000)]
    ours = sum(start <= (bucket_of(str(one)) or 0) < end for one in sessions)
    assert not SplitCheck().after(ours, len(sessions) - ours, 0.1).mismatch(1)
    numbered = sum(start <= int(f"{number % 1000:03d}", 16) < end for number in range(6000))
    assert SplitCheck().after(numbered, 6000 - numbered, 0.1).mismatch(1)


@pytest.mark.engine
def test_envoy_takes_each_expression_without_a_larger_limit(tmp_path: Path) -> None:
    """Its limit for programs of RE2 is 100; Istio and Envoy Gateway raise it, others may not."""
    spans = {
        span
        for weight in range(1, 100)
        for span in bucket_ranges((Share(1, 100 - weight), Share(2, weight))).values()
    }
    rules = [
        {
            "match": {
                "prefix": "/",
                "headers": [
                    {
                        "name": SESSION_HEADER,
                        "string_match": {"safe_regex": {"regex": session_pattern(*span)}},
                    }
                ],
            },
            "direct_response": {"status": 200},
        }
        for span in spans
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "any",
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": rules}]},
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    configuration = tmp_path / "envoy.json"
    configuration.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    command = (str(envoy_binary()), "--mode", "validate", "-c", str(configuration))
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stderr[-1000:]
