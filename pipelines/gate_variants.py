"""Which variants a gate judges: those that are named, else the policy's that are converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.convert import chosen_artifact
from pipelines.gate import chosen_variant
from pipelines.model_config import load_model_config
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.assembly import Platform


@dataclass(frozen=True, slots=True)
class VariantsToJudge:
    """The artifact's digest, variants of it in order, and those of the policy it does not have."""

    artifact: str
    converted: tuple[str, ...]
    missing: tuple[str, ...]


def variants_to_judge(
    platform: Platform, model: str, artifact: str = "", named: Sequence[str] = ()
) -> VariantsToJudge:
    """Variants of the newest artifact, or of `artifact`: `named`, or what the policy lists.

    Raises UserError when one that is named, or all that are listed, were never converted: nothing
    is judged then.
    """
    listed = load_model_config(platform.workspace, model).convert.variants
    catalog = platform.catalog(model)
    digest = chosen_artifact(catalog, model, artifact)
    if named:
        wanted = tuple(dict.fromkeys(named))
        for variant in wanted:
            chosen_variant(catalog, model, digest, variant)
        return VariantsToJudge(digest, wanted, ())
    converted = tuple(name for name in listed if catalog.find_variant(digest, name) is not None)
    if not converted:
        raise UserError(
            f"artifact {digest[:12]} has none of the policy's variants, {', '.join(listed)}",
            where=model,
            remedy=f"run `sluice convert {model}`",
        )
    missing = tuple(name for name in listed if name not in converted)
    return VariantsToJudge(digest, converted, missing)
