"""Turns a Whisper checkpoint into variants. The converter's interpreter runs this as a child.

`python -m pipelines.conversion.whisper REQUEST.json` reads the request, writes each variant into
its own folder below the request's output, and writes the outcome, good or bad, to the request's
result file. It reaches no network and imports a package only for a variant that needs it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.conversion.recipes import Recipe, recipe_of
from pipelines.conversion.whisper_source import inspect
from registry.errors import PermanentEngineError, SluiceError, UserError
from registry.files import canonical_json, disk_error

KIND = "whisper"
_EXPORT_TOOLS = ("numpy", "onnx", "torch", "transformers")


def main(request_path: Path) -> int:
    """Run the request; the exit code is 0 whenever the result file tells how it went."""
    request = json.loads(request_path.read_text())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.addaudithook(_refuse_network)
    try:
        outcome: dict[str, Any] = {"variants": convert(request)}
    except SluiceError as error:
        traceback.print_exc()
        outcome = {"error": _error_json(error)}
    except Exception as error:  # noqa: BLE001 - every failure must reach the parent with a type
        traceback.print_exc()
        outcome = {"error": _error_json(_typed(error, Path(request["source"])))}
    Path(request["result"]).write_bytes(canonical_json(outcome))
    return 0


def convert(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Make every variant of the request; the FP32 graphs are exported once and shared."""
    source, output, scratch = (Path(request[key]) for key in ("source", "output", "scratch"))
    facts = inspect(source)
    recipes = [recipe_of(KIND, name) for name in request["variants"]]
    started = time.monotonic()

    from pipelines.conversion.whisper_files import decoding_values
    from pipelines.conversion.whisper_formats import check_onnx
    from pipelines.conversion.whisper_graphs import export_decoder, export_encoder
    from pipelines.conversion.whisper_parity import reference

    model, extractor = _load(source)
    decoding = decoding_values(source, model)
    if decoding["max_new_tokens"] < 1:
        raise UserError(
            f"the prompt leaves no room for a transcript in {facts.max_tokens} tokens",
            where=str(source / "generation_config.json"),
            remedy="set max_length to the model's max_target_positions",
        )
    with warnings.catch_warnings():
        # The exporter says that it is the older one, and that a length check was traced.
        warnings.simplefilter("ignore")
        export_encoder(model, scratch / "encoder.onnx")
        export_decoder(model, scratch / "decoder.onnx")
    for graph in ("encoder", "decoder"):
        check_onnx(scratch / f"{graph}.onnx")
    expected = reference(model, extractor, decoding)
    shared = (time.monotonic() - started) / len(recipes)
    return [
        _make(one, request, output / one.variant, (model, extractor, decoding, expected), shared)
        for one in recipes
    ]


def _make(
    recipe: Recipe,
    request: dict[str, Any],
    folder: Path,
    parent: tuple[Any, Any, dict[str, Any], Any],
    shared_s: float,
) -> dict[str, Any]:
    from pipelines.conversion.whisper_files import write_serving_files
    from pipelines.conversion.whisper_formats import tools_of, write_variant
    from pipelines.conversion.whisper_parity import measure

    model, extractor, decoding, expected = parent
    started = time.monotonic()
    folder.mkdir()
    write_variant(recipe, Path(request["scratch"]), folder)
    write_serving_files(Path(request["source"]), folder, model, extractor)
    tools = {name: version(name) for name in sorted({*_EXPORT_TOOLS, *tools_of(recipe)})}
    description = {
        "kind": KIND,
        "parent": request["parent"],
        "recipe": recipe.to_json(),
        "tools": tools | {"python": sys.version.split()[0]},
        "environment": request["environment"],
    }
    (folder / "variant.json").write_bytes(canonical_json(description) + b"\n")
    parity = measure(recipe, folder, expected, decoding)
    seconds = round(shared_s + time.monotonic() - started, 3)
    return {
        "variant": recipe.variant,
        "tool_versions": description["tools"],
        "seconds": seconds,
        "parity": parity,
    }


def _load(source: Path) -> tuple[Any, Any]:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    model, loading = WhisperForConditionalGeneration.from_pretrained(
        source,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        # The plain attention is the one that the exporter by tracing writes cleanly.
        attn_implementation="eager",
        dtype="float32",
        output_loading_info=True,
    )
    if missing := sorted(loading["missing_keys"]):
        # Transformers would start them at random and only warn.
        raise UserError(
            f"{len(missing)} tensors are missing, the first is {missing[0]!r}",
            where=str(source / "model.safetensors"),
            remedy="save the whole model again",
        )
    extractor = WhisperFeatureExtractor.from_pretrained(source, local_files_only=True)
    return model.eval(), extractor


def _typed(error: Exception, source: Path) -> SluiceError:
    if isinstance(error, MemoryError):
        return PermanentEngineError(
            "the conversion ran out of its memory limit",
            where=str(source),
            remedy="raise the limit, or convert on a larger machine",
        )
    if isinstance(error, OSError) and error.filename:
        return disk_error(Path(os.fsdecode(error.filename)), error)
    first = str(error).strip().splitlines()[:1]
    return PermanentEngineError(
        f"the conversion failed: {type(error).__name__}: {first[0] if first else ''}",
        where=str(source),
    )


def _error_json(error: SluiceError) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "remedy": error.remedy,
    }


def _end_with_parent() -> None:
    """End this process when its standard input closes: the parent is gone, however it died."""
    # Not through `sys.stdin`, whose lock would be held when this process wants to end by itself.
    while os.read(0, 1):
        pass
    os._exit(1)


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"} and not (
        event == "socket.connect" and arguments[0].family == socket.AF_UNIX
    ):
        raise PermanentEngineError("the conversion tried to reach the network, which it never may")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
