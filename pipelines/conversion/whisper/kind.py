"""Whisper: an encoder that hears a fixed window, and a decoder that writes what was said."""

from __future__ import annotations

from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor
from pipelines.conversion.whisper.source import facts

# Convolutions and embeddings stay FP32: quantising them too saves little and costs more
# accuracy in the encoder (measured: a difference of .20 against .14).
_DYNAMIC: dict[str, str | bool] = {"method": "dynamic", "operators": "MatMul", "per_channel": True}
# The decoder's cache grows by a row each step; only the encoder has activations of one shape.
_ENCODER: dict[str, str | bool] = {"graphs": "encoder", "others": "onnx-int8"}

KIND = Kind(
    name="whisper",
    dataset="speech",
    interface=Interface(
        question=Tensor("waveform", "TYPE_FP32", (-1,)),
        answer=Tensor("transcript", "TYPE_STRING", (1,)),
        signals=(
            Tensor("average_log_probability", "TYPE_FP32", (1,)),
            Tensor("no_speech_probability", "TYPE_FP32", (1,)),
            Tensor("token_count", "TYPE_INT32", (1,)),
            Tensor("compression_ratio", "TYPE_FP32", (1,)),
        ),
        extras=(Tensor("segments", "TYPE_STRING", (1,)),),
    ),
    inspect=facts,
    package="pipelines.conversion.whisper",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        Recipe("onnx-fp16", "onnx", "fp16"),
        Recipe("onnx-int8", "onnx", "int8", _DYNAMIC),
        Recipe(
            "onnx-int8-static",
            "onnx",
            "int8",
            {"method": "static", "operators": "MatMul", "per_channel": True, **_ENCODER},
        ),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
        Recipe(
            "openvino-int8-full",
            "openvino",
            "int8",
            {
                "method": "full",
                "model_type": "transformer",
                "graphs": "encoder",
                "others": "openvino-int8",
            },
        ),
    ),
    program="whisper",
    serving="program",
    options={"long_audio": "refuse", "overlap_s": "", "longest_s": ""},
    refused={
        "openvino-int4": "four bits are for language models; here they save .5 MB of 1.5 "
        "and change 3 % of the transcripts",
    },
)
