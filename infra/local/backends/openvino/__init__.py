"""The stand-in for Triton's OpenVINO backend."""
