"""What admission asks of a revision, wherever it runs: its version and its golden answers.

How a server is asked is the caller's; what the answer means stands here once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.ports import Admission
from model_repository.building import describe_release
from model_repository.golden import GoldenSet
from pipelines.conversion.kinds import kind_of
from registry.errors import EngineError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from model_repository.layout import ReleaseLayout
    from pipelines.conversion.kind import Interface
    from validation.answers import Answer

    Ask = Callable[[Interface, Iterable[tuple[str, Any]]], Sequence[Answer]]

Check = tuple[str, bool, str]
"""Its name, whether it passed, and what was found."""


def admission(checks: Iterable[Check]) -> Admission:
    """What the checks say, made one after the other; the first failed one is the last made."""
    made: list[Check] = []
    for check in checks:
        made.append(check)
        if not check[1]:
            break
    return Admission(admitted=all(passed for _, passed, _ in made), checks=tuple(made))


def check_versions(
    models: Sequence[str], release: int, served: Callable[[str], tuple[str, ...]]
) -> Check:
    """Whether `served` tells, of each of the release's Triton models, this version and no other."""
    for model in models:
        try:
            found = served(model)
        except EngineError as error:
            return "version", False, str(error)
        if found != (str(release),):
            of_part = f" of {model}" if len(models) > 1 else ""
            told = ", ".join(found) or "nothing"
            return "version", False, f"serves {told} instead of {release}{of_part}"
    parts = "" if len(models) == 1 else f" of each of {', '.join(models)}"
    return "version", True, f"serves version {release} only{parts}"


def check_golden(layout: ReleaseLayout, ask: Ask) -> Check:
    """Whether `ask` brings the answers that the gate recorded, within their tolerance."""
    try:
        golden = GoldenSet.load(layout.golden)
        interface = kind_of(describe_release(layout.folder)["kind"]).interface
        answers = ask(interface, ((one.id, one.question) for one in golden.requests))
    except (IntegrityError, EngineError) as error:
        return "golden answers", False, str(error)
    reasons = golden.differences(answers)
    if reasons:
        return "golden answers", False, f"{len(reasons)} of {len(answers)} differ: {reasons[0]}"
    return "golden answers", True, f"{len(answers)} are the gate's own"
