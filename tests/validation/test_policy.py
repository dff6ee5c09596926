"""A policy that asks for nothing, or for what cannot be shown, is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from validation.policy import GatePolicy


def test_defaults_are_strict(make_policy: Callable[..., GatePolicy]) -> None:
    policy = make_policy()
    assert (policy.cluster, policy.slices, policy.max_failed) == ("speaker", ("noise",), 0.0)
    assert policy.tail == pytest.approx(0.025)


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {}},
        {"limits": {"wer": 0}},
        {"limits": {"wer": 1.5}},
        {"limits": {"wer": float("nan")}},
        {"limits": {"bleu": 0.3}},
        {"margins": {"yesterday": 0.01}},
        {"colour": "red"},
        {"sha256": "abc"},
        {"dataset": "/data/set"},
        {"dataset": ""},
        {"normaliser": "whisper"},
        {"floors": {"wer": 0.1}},
        {"margins": {"parent": {"speed": 0.1}}},
        {"margins": {"parent": 0}},
        {"slice_margins": {"accent": {"parent": 0.1}}},
        {"slice_margins": {"noise=x": {"prent": 0.1}}},
        {"buckets": {"words": []}},
        {"buckets": {"words": [5, 5]}},
        {"buckets": {"noise": [1]}},
        {"method": "t-test"},
        {"correction": "bonferroni"},
        {"power": 1.0},
        {"budgets": {"p95": 1}},
        {"confidence": 1.0},
        {"confidence": 0.5},
        {"confidence": 0.999},
        {"resamples": 10},
        {"min_clusters": 1},
        {"max_failed": 1.0},
        {"contract": {"text_pattern": "["}},
        {"contract": {"shortest_s": 0}},
    ],
)
def test_a_policy_that_means_nothing_is_refused(
    make_policy: Callable[..., GatePolicy], settings: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        make_policy(**settings)


def test_margins_alone_are_a_policy(make_policy: Callable[..., GatePolicy]) -> None:
    policy = make_policy(limits={}, margins={"parent": 0.01})
    assert policy.margins.named("wer") == {"parent": {"wer": 0.01}}


def test_budgets_alone_say_nothing_about_answers(make_policy: Callable[..., GatePolicy]) -> None:
    with pytest.raises(ValidationError, match="limits, floors and margins"):
        make_policy(limits={}, budgets={"p95_ms": 100})


def test_a_margin_may_be_of_any_metric(make_policy: Callable[..., GatePolicy]) -> None:
    policy = make_policy(margins={"production": {"bleu": 0.5, "wer": 0.01}})
    assert policy.margins.named("wer") == {"production": {"bleu": 0.5, "wer": 0.01}}


def test_the_narrowest_table_gives_a_slice_its_margin(
    make_policy: Callable[..., GatePolicy],
) -> None:
    policy = make_policy(
        slices=["noise", "accent"],
        margins={"parent": 0.01, "production": {"cer": 0.02}},
        slice_margins={
            "parent": 0.03,
            "noise": {"parent": {"wer": 0.04}},
            "noise=babble": {"parent": 0.05},
        },
    )
    found = {name: policy.margins_of(name, "wer") for name in ("accent=x", "noise=x")}
    assert found["accent=x"] == {"parent": {"wer": 0.03}, "production": {"cer": 0.02}}
    assert found["noise=x"]["parent"] == {"wer": 0.04}
    assert policy.margins_of("noise=babble", "wer")["parent"] == {"wer": 0.05}


def test_slices_keep_the_margins_of_the_whole_unless_told(
    make_policy: Callable[..., GatePolicy],
) -> None:
    policy = make_policy(margins={"parent": 0.01})
    assert policy.margins_of("noise=x", "wer") == {"parent": {"wer": 0.01}}


def test_a_policy_comes_back_from_its_json(make_policy: Callable[..., GatePolicy]) -> None:
    policy = make_policy(
        margins={"parent": 0.01},
        slice_margins={"noise=a": {"parent": 0.02}},
        buckets={"words": [5]},
    )
    assert type(policy).model_validate_json(policy.model_dump_json()) == policy
