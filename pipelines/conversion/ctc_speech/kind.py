"""CTC speech: one network that gives every frame a character or a blank, and no decoder."""

from __future__ import annotations

from pipelines.conversion.ctc_speech.source import facts
from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor

KIND = Kind(
    name="ctc-speech",
    dataset="speech",
    interface=Interface(
        question=Tensor("waveform", "TYPE_FP32", (-1,)),
        answer=Tensor("transcript", "TYPE_STRING", (1,)),
        signals=(
            Tensor("average_log_probability", "TYPE_FP32", (1,)),
            Tensor("token_count", "TYPE_INT32", (1,)),
            Tensor("compression_ratio", "TYPE_FP32", (1,)),
        ),
    ),
    inspect=facts,
    package="pipelines.conversion.ctc_speech",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        Recipe("onnx-fp16", "onnx", "fp16"),
        Recipe("onnx-int8", "onnx", "int8", {"method": "dynamic", "operators": "MatMul"}),
        Recipe("onnx-int8-static", "onnx", "int8", {"method": "static"}),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
        Recipe(
            "openvino-int8-full",
            "openvino",
            "int8",
            {"method": "full", "model_type": "transformer"},
        ),
    ),
    program="ctc_speech",
    serving="network",
    refused={
        "openvino-int4": "four bits are for language models; here they save .25 MB of .87 and "
        "change 7 % of the transcripts",
    },
)
