"""Translation: an encoder that reads a text once, and a decoder that writes another."""

from __future__ import annotations

from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor
from pipelines.conversion.translation.source import facts

KIND = Kind(
    name="translation",
    dataset="text",
    interface=Interface(
        question=Tensor("text", "TYPE_STRING", (1,)),
        answer=Tensor("translation", "TYPE_STRING", (1,)),
        signals=(
            Tensor("average_log_probability", "TYPE_FP32", (1,)),
            Tensor("token_count", "TYPE_INT32", (1,)),
            Tensor("compression_ratio", "TYPE_FP32", (1,)),
        ),
    ),
    inspect=facts,
    package="pipelines.conversion.translation",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        # Sums and norms overflow first in FP16 (T5's do in models of the usual sizes).
        Recipe("onnx-fp16", "onnx", "fp16", {"keep_operators": "Add,Pow,ReduceMean,Sqrt"}),
        Recipe(
            "onnx-int8",
            "onnx",
            "int8",
            {"method": "dynamic", "operators": "MatMul,Gather", "per_channel": True},
        ),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
    ),
    program="generation",
    serving="stream",
    options={"max_live": "32", "max_waiting": "128"},
    # Measured on the example model; its ranges were taken from every step of 16 answers.
    refused={
        "onnx-int8-static": "a decoder's cache grows with each step, and fixed ranges for all of "
        "them make it 2 % larger than onnx-int8, slower, and twice as far from FP32",
        "openvino-int8-full": "a decoder's cache grows with each step, and fixed ranges for all "
        "of them make it 7 % larger than openvino-int8, slower, and eight times as far from FP32",
        "openvino-int4": "four bits are for language models; here they are six times as far from "
        "FP32 as openvino-int8, and 27 % smaller",
    },
)
