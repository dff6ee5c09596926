"""The stand-in for Triton's ONNX Runtime backend."""
