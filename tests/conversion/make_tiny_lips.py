"""Run in the `keras` environment: write tiny lip-readers with random weights below a folder.

`python make_tiny_lips.py FOLDER`. They say nothing sensible, but have every part of a real one:
`functional` ends in logits and was compiled, `sequential` ends in a softmax, `hdf5` is a model.h5,
`hasty` gives 25 rows for 75 frames, and `broken` computes NaN.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers

TOKENS = [*"abcdefghijklmnopqrstuvwxyz", " ", "<blank>"]


def middle(stride: int = 1) -> list[layers.Layer]:
    return [
        layers.Conv3D(2, (3, 5, 5), (stride, 4, 4), padding="same", activation="relu"),
        layers.MaxPooling3D((1, 4, 4)),
        layers.TimeDistributed(layers.Flatten()),
        layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
        layers.Dense(len(TOKENS), activation="linear"),
    ]


def functional(stride: int = 1) -> keras.Model:
    signal = clip = keras.Input((75, 46, 140, 1))
    for layer in middle(stride):
        signal = layer(signal)
    return keras.Model(clip, signal)


def write(folder: Path, model: keras.Model, name: str = "model.keras") -> None:
    folder.mkdir(parents=True)
    # Random networks choose the same token everywhere unless their last weights are large.
    for weight in model.trainable_weights[-2:]:
        weight.assign(10 * np.random.default_rng(1).standard_normal(weight.shape))
    model.save(folder / name)
    vocabulary = {"tokens": TOKENS, "blank": len(TOKENS) - 1, "word_delimiter": " "}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))


def main(root: Path) -> None:
    keras.utils.set_random_seed(4)
    model = functional()
    model.compile("adam", keras.losses.CTC())
    write(root / "functional", model)
    softmax = layers.Softmax()
    write(
        root / "sequential", keras.Sequential([keras.Input((75, 46, 140, 1)), *middle(), softmax])
    )
    write(root / "hdf5", functional(), "model.h5")
    write(root / "hasty", functional(stride=3))
    write(root / "broken", functional())
    broken = keras.models.load_model(root / "broken" / "model.keras")
    broken.trainable_weights[-1].assign(np.full(len(TOKENS), np.nan))
    broken.save(root / "broken" / "model.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
