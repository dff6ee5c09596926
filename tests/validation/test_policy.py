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
    assert policy.margins.named() == {"parent": 0.01}


def test_slices_keep_the_margins_of_the_whole_unless_told(
    make_policy: Callable[..., GatePolicy],
) -> None:
    same = make_policy(margins={"parent": 0.01})
    looser = make_policy(margins={"parent": 0.01}, slice_margins={"parent": 0.03})
    none = make_policy(margins={"parent": 0.01}, slice_margins={})
    assert same.margins_of_slices.named() == {"parent": 0.01}
    assert looser.margins_of_slices.named() == {"parent": 0.03}
    assert none.margins_of_slices.named() == {}
