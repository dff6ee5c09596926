"""Opens a CTC checkpoint as one PyTorch module and exports it, in the converter's environment.

Tensors (B batch, M mel bands, F frames of features, S samples, P frames of the answer,
V vocabulary), all of one size but B:
  Whisper encoder: input_features [B, M, F] -> logits [B, P, V], P = F / 2
  wav2vec2: input_values [B, S], and attention_mask int32 [B, S] (1 where there is sound) when the
            model was trained with one -> logits [B, P, V]
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from pipelines.conversion.ctc_speech.source import whisper_parts
from pipelines.conversion.hugging_face import CONFIG, WEIGHTS, read_header, read_object
from pipelines.conversion.loading import load_model
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.conversion.ctc_speech.source import CtcFacts

OPSET = 17


class WhisperCtc(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """A Whisper encoder under one linear layer."""

    def __init__(self, encoder: Any, head: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, input_features: Any) -> Any:
        """See the module's table of tensors."""
        return self.head(self.encoder(input_features).last_hidden_state)


class Wav2Vec2Ctc(torch.nn.Module):  # type: ignore[misc]  # PyTorch is only in the converter
    """Wav2Vec2ForCTC without what it needs to be trained."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: Any, attention_mask: Any = None) -> Any:
        """See the module's table of tensors."""
        return self.model(input_values, attention_mask=attention_mask).logits


def load(source: Path, facts: CtcFacts) -> Any:
    """The checkpoint's network in FP32. Raises UserError when a tensor is missing."""
    loaders = {"whisper": _load_whisper, "wav2vec2": _load_wav2vec2}
    return loaders[facts.architecture](source).eval()


def export(network: Any, example: Sequence[Any], inputs: Sequence[str], path: Path) -> None:
    """Write the network's graph in FP32; `example` are two rows of its `inputs`."""
    import onnx

    names = [*inputs, "logits"]
    with torch.inference_mode(), warnings.catch_warnings():
        # The exporter says that it is the older one, and that a length check was traced.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(example),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=OPSET,
            # The exporter by tracing: a tenth of the time of the one by torch.export.
            dynamo=False,
        )
        shape = tuple(network(*example).shape)
    model = onnx.load(path)
    # Traced shapes are open where the tracer could not tell; a served graph's sizes are fixed.
    for dim, size in zip(
        model.graph.output[0].type.tensor_type.shape.dim[1:], shape[1:], strict=True
    ):
        dim.dim_value = size
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def _load_whisper(source: Path) -> Any:
    from safetensors.torch import load_file  # type: ignore[import-not-found]  # as PyTorch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    path = source / WEIGHTS
    parts = whisper_parts(path, read_header(path))
    config = WhisperConfig(**read_object(source / CONFIG))
    # The plain attention is the one that the exporter by tracing writes cleanly.
    config._attn_implementation = "eager"  # noqa: SLF001 - what from_pretrained sets
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    head = {
        name.removeprefix(parts.head): tensors.pop(name)
        for name in list(tensors)
        if name in {f"{parts.head}weight", f"{parts.head}bias"}
    }
    layer = torch.nn.Linear(config.d_model, config.vocab_size, bias="bias" in head)
    encoder = WhisperEncoder(config)
    _fill(layer, head, path)
    _fill(encoder, {n.removeprefix(parts.encoder): t for n, t in tensors.items()}, path)
    return WhisperCtc(encoder, layer)


def _fill(module: Any, tensors: dict[str, Any], path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    if wrong:
        raise UserError(
            f"{len(wrong)} tensors are not those of config.json: {wrong[0]!r} is "
            f"{found.get(wrong[0], 'missing')}, not {wanted.get(wrong[0], 'known')}",
            where=str(path),
            remedy="keep the weights and the config.json of one checkpoint together",
        )
    module.load_state_dict(tensors)


def _load_wav2vec2(source: Path) -> Any:
    from torch.nn.utils import parametrize
    from transformers import Wav2Vec2ForCTC

    # Only training masks spectra.
    model = load_model(Wav2Vec2ForCTC, source, unused={"wav2vec2.masked_spec_embed"})
    convolution = model.wav2vec2.encoder.pos_conv_embed.conv
    if parametrize.is_parametrized(convolution, "weight"):
        # The product of norm and direction is a constant when the model serves.
        parametrize.remove_parametrizations(convolution, "weight")
    return Wav2Vec2Ctc(model)
