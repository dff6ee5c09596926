"""Noisy and clean pairs of GRID speech, and a small network that takes the noise away.

`pairs` and `noises` make the data, byte for byte the same each time, and need NumPy alone;
`network`, `batches` and `training` make the example checkpoint and need PyTorch. Nothing here is
part of the product, and nothing of the product imports it.
"""
