"""Opens a Hugging Face checkpoint with Transformers, in the converter's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.hugging_face import WEIGHTS
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def load_model(model_class: Any, source: Path, *, unused: Collection[str] = ()) -> Any:
    """The checkpoint in FP32 for inference, its weights all from its own files.

    Raises UserError when a tensor is missing that is not one of `unused`.
    """
    model, loading = model_class.from_pretrained(
        source,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        # The plain attention is the one that the exporter by tracing writes cleanly.
        attn_implementation="eager",
        dtype="float32",
        output_loading_info=True,
    )
    if missing := sorted(set(loading["missing_keys"]) - set(unused)):
        # Transformers would start them at random and only warn.
        raise UserError(
            f"{len(missing)} tensors are missing, the first is {missing[0]!r}",
            where=str(source / WEIGHTS),
            remedy="save the whole model again",
        )
    return model.eval()
