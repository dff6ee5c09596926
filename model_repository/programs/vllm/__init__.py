"""Completions by the vLLM engine that Triton's backend of that name holds in MODEL.network.

`model.py` is what clients ask: it refuses what cannot be answered, puts the question into the
model's prompt, and turns what the engine wrote into the kind's outputs.
"""
