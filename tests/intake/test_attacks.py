"""Every attack of the corpus is refused, for its own reason, before anything of it runs."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from registry.errors import UserError
from registry.intake.archives import is_archive, unpack
from registry.intake.gatekeeper import admit

from .attacks import ATTACKS
from .builders import pickled

if TYPE_CHECKING:
    from pathlib import Path

    from .corpus import Attack


def refusal(attack: Attack, tmp_path: Path) -> UserError:
    """What is said of an attack; fails when it comes in, or when something of it ran."""
    folder, canary = tmp_path / "incoming", tmp_path / "canary"
    folder.mkdir()
    given = attack.make(folder, canary) or folder
    target = tmp_path / "scratch" / "unpacked"
    target.mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        admit(unpack(given, target) if is_archive(given) else given)
    assert not canary.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"incoming", "scratch", "secret"}
    return caught.value


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_refused_for_its_own_reason(attack: Attack, tmp_path: Path) -> None:
    error = refusal(attack, tmp_path)
    assert attack.said in error.what
    assert error.where
    assert "\n" not in str(error)


def test_names_are_told_once() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("protocol", range(6))
def test_the_payload_would_have_run(protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickled(canary, protocol))  # noqa: S301 - the attack, to see that it is one
    assert canary.exists()
