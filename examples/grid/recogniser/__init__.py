"""A small Whisper for GRID sentences: tokenizer, training, scoring, checkpoints.

This package exists so that the demo has models of its own that anyone can make again.
It runs in the converter's environment (PyTorch, Transformers) and writes checkpoints in
the Hugging Face layout, as a team would hand them over. No part of the product imports it.
"""
