"""A small CTC recogniser for GRID sentences: a Whisper encoder under one linear layer.

This package exists so that the demo has a model of this kind that anyone can make again. It runs
in the converter's environment, on the clips, noise and features of `recogniser`, and writes a
folder in the Hugging Face layout. No part of the product imports it.
"""
