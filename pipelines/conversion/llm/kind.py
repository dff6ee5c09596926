"""Language models: one decoder that continues a prompt, for as many tokens as it is given."""

from __future__ import annotations

from pipelines.conversion.kind import Interface, Kind, Recipe, Tensor
from pipelines.conversion.llm.source import facts

KIND = Kind(
    name="llm",
    dataset="text",
    interface=Interface(
        question=Tensor("text", "TYPE_STRING", (1,)),
        answer=Tensor("completion", "TYPE_STRING", (1,)),
        signals=(
            Tensor("average_log_probability", "TYPE_FP32", (1,)),
            Tensor("token_count", "TYPE_INT32", (1,)),
            Tensor("compression_ratio", "TYPE_FP32", (1,)),
        ),
    ),
    inspect=facts,
    package="pipelines.conversion.llm",
    recipes=(
        Recipe("onnx-fp32", "onnx", "fp32"),
        Recipe(
            "onnx-fp16",
            "onnx",
            "fp16",
            {
                # Squares and sums overflow first in FP16, and it knows no odd position over 2048.
                "keep_operators": "Add,Pow,ReduceMean,Sqrt,Cos,Sin",
                "keep": "/rotary/Cast,/rotary/Mul",
            },
        ),
        Recipe(
            "onnx-int8",
            "onnx",
            "int8",
            {"method": "dynamic", "operators": "MatMul,Gather", "per_channel": True},
        ),
        Recipe("openvino-fp16", "openvino", "fp16"),
        Recipe("openvino-int8", "openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
        Recipe(
            "openvino-int4",
            "openvino",
            "int4",
            {"method": "weights", "mode": "int4_sym", "group_size": 32},
        ),
    ),
    passed=(Recipe("vllm", "vllm", "as-is"),),
    program="generation",
    serving="stream",
    # The last two are vLLM's: one GPU, and 0.9 of its memory.
    options={"max_live": "32", "max_waiting": "128", "gpus": "", "gpu_memory_share": ""},
    # Measured on the example model; its ranges were taken from every step of 16 answers.
    refused={
        "onnx-int8-static": "a decoder's cache grows with each step, and fixed ranges for all of "
        "them make it 2 % larger than onnx-int8, slower, and twice as far from FP32",
        "openvino-int8-full": "a decoder's cache grows with each step, and fixed ranges for all "
        "of them make it 14 % larger than openvino-int8, slower, and eleven times as far from FP32",
        "tensorrt-llm": "it serves an engine that was compiled on the very model of GPU that it "
        "will run on, and nothing here compiles one; vllm serves the checkpoint itself",
    },
)
