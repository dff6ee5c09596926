"""Voice cleaning: one network that takes noise away from speech, as a mask or as a waveform."""

from __future__ import annotations

from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor
from pipelines.conversion.voice_cleaning.source import facts

# ONNX Runtime 1.31 crashes in its NchwcTransformer when it opens a GRU or an LSTM beside an FP16
# Transpose. With that one in FP32 it computes, and weights are FP16 all the same.
_HALF = {"keep_operators": "Transpose"}

KIND = Kind(
    name="voice-cleaning",
    dataset="noisy-speech",
    interface=Interface(
        question=Tensor("waveform", "TYPE_FP32", (-1,)),
        answer=Tensor("cleaned", "TYPE_FP32", (-1,)),
        signals=(
            Tensor("input_rms", "TYPE_FP32", (1,)),
            Tensor("output_rms", "TYPE_FP32", (1,)),
            Tensor("attenuation_db", "TYPE_FP32", (1,)),
        ),
    ),
    inspect=facts,
    package="pipelines.conversion.voice_cleaning",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        Recipe("onnx-fp16", "onnx", "fp16", _HALF),
        Recipe("onnx-int8", "onnx", "int8", {"method": "dynamic", "operators": "MatMul,Gemm,LSTM"}),
        Recipe("onnx-int8-static", "onnx", "int8", {"method": "static"}),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
        Recipe("openvino-int8-full", "openvino", "int8", {"method": "full"}),
    ),
    program="voice_cleaning",
    serving="network",
    refused={
        "openvino-int4": "four bits are for language models; here they save .14 MB of .52 "
        "and move 6 % of the clips by more than .1 dB",
    },
)
