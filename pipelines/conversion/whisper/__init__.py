"""Whisper: its folder, its graphs, the files beside them, and parity with PyTorch."""
