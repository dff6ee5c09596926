"""Synthetic GRID speech: sentences of the GRID grammar, spoken by espeak-ng.

This package exists so that the demo has a real recognition task which anyone can
make again, byte for byte, without downloading a corpus. It only makes data: it
knows nothing of models. espeak-ng is GPL-3 and is used here alone, to make example
data; no part of the product imports this package.
"""
