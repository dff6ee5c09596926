"""Writes the files of one release: programs as they are now, the variant, configurations.

The programs are copied into every release, so a release keeps its own when the code moves on.
The same inputs give the same bytes: no time, path or host is written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.config import (
    NETWORK_FILES,
    Batching,
    render_network,
    render_program,
    render_stream,
    render_vllm,
)
from model_repository.layout import (
    ENTRY,
    NO_BYTECODE,
    RELEASE,
    SERVING,
    VARIANT,
    ReleaseLayout,
)
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.llm.prequantised import vllm_model
from registry.errors import IntegrityError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from model_repository.golden import GoldenSet
    from pipelines.conversion.kind import Kind

_PROGRAMS = Path(__file__).resolve().parent / "programs"
_COMMON = "common"
_NETWORK = "network"
_STREAM = "stream"
_STREAM_ENTRY = "stream_model.py"
_VLLM = "vllm"
_VLLM_RULES = "vllm.json"
_TOKENIZER = "tokenizer.json"
_DEFAULT_LIVE = "32"


def build_release(  # noqa: PLR0913 - each is named by its caller
    root: Path,
    model: str,
    release: int,
    *,
    kind: str,
    variant_folder: Path,
    golden: GoldenSet | None,
    batching: Batching,
    provenance: Mapping[str, str],
) -> None:
    """Fill the empty `root` with the release's Triton models, laid out as in a repository.

    Raises IntegrityError when `variant_folder` does not describe a variant.
    """
    chosen = kind_of(kind)
    layout = ReleaseLayout(root, model, release)
    recipe = describe_variant(variant_folder)["recipe"]
    program = _program_of(chosen, recipe["format"])
    _write_program(layout, program, ENTRY)
    parameters = {"variant": recipe["variant"]}
    asked = batching
    if recipe["format"] == _VLLM:
        parameters |= _write_vllm(layout, variant_folder, batching)
        # Each instance asks one question at a time, and vLLM computes them together.
        live = int(batching.options.get("max_live", _DEFAULT_LIVE))
        asked = dataclasses.replace(batching, queue_delay_us=None, instances=live)
    elif chosen.serving == "network":
        _write_network(layout, variant_folder, batching)
    elif chosen.serving == "stream":
        _write_stream(layout, chosen, variant_folder, batching)
    else:
        _copy_variant(variant_folder, layout.folder)
    description = {
        "model": model,
        "release": release,
        "kind": kind,
        "recipe": recipe,
        "program": program_digest(kind, recipe["format"]),
        "serve": dataclasses.asdict(batching),
        "provenance": dict(provenance),
    }
    (layout.folder / RELEASE).write_bytes(canonical_json(description) + b"\n")
    if golden is not None:
        layout.golden.write_bytes(golden.to_json() + b"\n")
    _write_config(
        layout,
        render_program(
            model,
            release,
            interface=chosen.interface,
            batching=asked,
            # Triton lets no model ask another one before all are loaded.
            longest=longest_question(variant_folder) if chosen.serving == "program" else None,
            parameters=parameters,
        ),
    )
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)


def describe_variant(variant_folder: Path) -> dict[str, Any]:
    """What the conversion wrote about the variant. Raises IntegrityError when it is not there."""
    return _read(variant_folder / "variant.json")


def describe_release(folder: Path) -> dict[str, Any]:
    """What building wrote about a release, in its version folder. Raises IntegrityError."""
    return _read(folder / RELEASE)


def longest_question(variant_folder: Path) -> list[int] | None:
    """Dims of the largest question that the variant takes; None for a text."""
    dims = describe_variant(variant_folder)["longest_question"]
    return [int(dim) for dim in dims] if dims else None


def program_digest(kind: str, variant_format: str = "") -> str:
    """SHA-256, in hex, of the program that a release of this kind would carry now.

    `variant_format` is that of its variant: vLLM's releases have a program of their own.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_program_files(_program_of(kind_of(kind), variant_format)).items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _program_of(kind: Kind, variant_format: str) -> str:
    """Folder of the program that serves a kind's variants of this format."""
    return _VLLM if variant_format == _VLLM else kind.program


def _program_files(program: str) -> dict[str, Path]:
    """Modules of a program by their path in a version folder; entries as they are named."""
    own = sorted((_PROGRAMS / program).glob("*.py"))
    shared = sorted((_PROGRAMS / _COMMON).glob("*.py"))
    entries = (ENTRY, _STREAM_ENTRY)
    return {
        path.name if path.name in entries else f"{SERVING}/{path.parent.name}/{path.name}": path
        for path in (*own, *shared)
    }


def _write_program(layout: ReleaseLayout, program: str, entry: str) -> None:
    """The modules of a program, and the one of its entries that this model runs."""
    folder = layout.folder
    for name, path in _program_files(program).items():
        if name in {ENTRY, _STREAM_ENTRY}:
            if name != entry:
                continue
            name = ENTRY  # noqa: PLW2901 - Triton runs an entry of this name
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (folder / SERVING / "__init__.py").touch()
    packages = [folder, folder / SERVING, *(folder / SERVING).glob("*/")]
    for package in packages:
        if package.is_dir():
            (package / NO_BYTECODE).touch()


def _write_network(layout: ReleaseLayout, variant_folder: Path, batching: Batching) -> None:
    network = dataclasses.replace(layout, part=_NETWORK)
    kept = describe_variant(variant_folder)["recipe"]["format"]
    names = NETWORK_FILES[kept]
    network.folder.mkdir(parents=True)
    own = {f"{_NETWORK}{Path(name).suffix}": name for name in names}
    for stored, served in own.items():
        shutil.copyfile(variant_folder / stored, network.folder / served)
    _copy_variant(variant_folder, layout.folder, without=set(own))
    _write_config(
        network,
        render_network(
            network.triton_model,
            layout.release,
            format=kept,
            tensors=_read(variant_folder / "network.json"),
            batching=batching,
        ),
    )


def _write_stream(
    layout: ReleaseLayout, kind: Kind, variant_folder: Path, batching: Batching
) -> None:
    stream = dataclasses.replace(layout, part=_STREAM)
    _write_program(stream, kind.program, _STREAM_ENTRY)
    _copy_variant(variant_folder, stream.folder)
    _write_config(
        stream,
        render_stream(
            stream.triton_model,
            layout.release,
            interface=kind.interface,
            batching=batching,
            parameters={
                "variant": describe_variant(variant_folder)["recipe"]["variant"],
                "answer": kind.interface.answer.name,
            },
        ),
    )


def _write_vllm(layout: ReleaseLayout, variant_folder: Path, batching: Batching) -> dict[str, str]:
    """The model that the vLLM backend runs, and what the program needs of the variant.

    Returns the parameters by which the program finds that model.
    """
    network = dataclasses.replace(layout, part=_NETWORK)
    _copy_variant(variant_folder, network.folder)
    kept = layout.folder / VARIANT
    kept.mkdir()
    for name in (_VLLM_RULES, _TOKENIZER, "variant.json"):
        shutil.copyfile(variant_folder / name, kept / name)
    rules, options = _read(kept / _VLLM_RULES), batching.options
    engine = vllm_model(
        # As a server sees it whose working folder is the repository: no host's path is signed.
        f"{network.triton_model}/{layout.release}/{VARIANT}",
        dtype=rules["dtype"],
        max_positions=rules["max_positions"],
        max_live=int(options.get("max_live", _DEFAULT_LIVE)),
        gpus=int(options.get("gpus", "1")),
        memory_share=float(options.get("gpu_memory_share", "0.9")),
    )
    (network.folder / "model.json").write_bytes(canonical_json(engine) + b"\n")
    _write_config(network, render_vllm(network.triton_model, layout.release))
    return {"option.engine": network.triton_model, "option.release": str(layout.release)}


def _copy_variant(variant_folder: Path, folder: Path, without: Collection[str] = ()) -> None:
    for path in sorted(variant_folder.rglob("*")):
        if path.is_file() and path.name not in without:
            target = folder / VARIANT / path.relative_to(variant_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _write_config(layout: ReleaseLayout, text: str) -> None:
    layout.config.parent.mkdir(parents=True, exist_ok=True)
    layout.config.write_text(text)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityError("is not a file of Sluice", where=str(path)) from error
