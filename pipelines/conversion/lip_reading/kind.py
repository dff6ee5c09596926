"""Lip-reading: one Keras network that gives every frame of a clip a token or a blank."""

from __future__ import annotations

from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor
from pipelines.conversion.lip_reading.architecture import CLIP
from pipelines.conversion.lip_reading.source import facts

KIND = Kind(
    name="lip-reading",
    dataset="video",
    interface=Interface(
        question=Tensor("clip", "TYPE_FP32", CLIP),
        answer=Tensor("transcript", "TYPE_STRING", (1,)),
        signals=(
            Tensor("average_log_probability", "TYPE_FP32", (1,)),
            Tensor("token_count", "TYPE_INT32", (1,)),
            Tensor("compression_ratio", "TYPE_FP32", (1,)),
        ),
    ),
    inspect=facts,
    package="pipelines.conversion.lip_reading",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        Recipe("onnx-fp16", "onnx", "fp16"),
        # Convolutions stay FP32: ConvInteger in three dimensions is four times slower than Conv.
        Recipe("onnx-int8", "onnx", "int8", {"method": "dynamic", "operators": "LSTM,MatMul"}),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
        Recipe("openvino-int8-full", "openvino", "int8", {"method": "full"}),
    ),
    refused={
        # Measured on the example: 22 ms a clip, FP32 takes 5.5 and dynamic INT8 6.4.
        "onnx-int8-static": "ONNX Runtime has no fast INT8 convolution in three dimensions and no "
        "static INT8 LSTM: it takes four times as long as FP32 and saves 8 % over onnx-int8",
        "openvino-int4": "four bits are for language models; NNCF does not compress the LSTM, "
        "which holds nearly all of the weights",
    },
    program="lip_reading",
    serving="network",
    environment="keras",
)
