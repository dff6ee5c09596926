"""What stands in for Triton's native ONNX Runtime and OpenVINO backends, which no wheel carries.

Python-based backends: `backend: "onnxruntime"` and `backend: "openvino"` are served by the very
`config.pbtxt` that the Triton container's own backends take. They run in the serving environment,
inside Triton's stub, and import nothing of Sluice but each other.
"""
