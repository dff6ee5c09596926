"""The lip-reader: Keras, 3-D convolutions over the clip, two bidirectional LSTMs, CTC.

The shape of LipNet (Assael et al., 2016), made small: its first convolution looks at every fourth
pixel only, and what it says are words of the grammar instead of letters. Runs in the `keras`
environment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import keras
from keras import layers

from lip_reading.sentences import SLOTS

if TYPE_CHECKING:
    from pathlib import Path

BLANK = 0
WORD_DELIMITER = "▁"
TOKENS = (
    "<blank>",
    *(WORD_DELIMITER + word for word in sorted({word for slot in SLOTS for word in slot})),
)
"""What the network's outputs stand for; the delimiter becomes the space before a word."""
CLIP = (75, 46, 140, 1)

_DROPOUT = 0.25


def build(width: int = 96) -> keras.Model:
    """A new network: float32 [B, 75, 46, 140, 1] in 0..1 to probabilities [B, 75, tokens]."""
    clip = keras.Input(CLIP, name="clip")
    signal = _block(clip, 12, (3, 5, 5), strides=(1, 4, 4))
    signal = layers.MaxPooling3D((1, 2, 2))(signal)
    signal = _block(signal, 24, (3, 3, 3))
    signal = layers.MaxPooling3D((1, 2, 2))(signal)
    signal = _block(signal, 32, (3, 3, 3))
    signal = layers.TimeDistributed(layers.Flatten())(signal)
    signal = layers.Dropout(_DROPOUT)(signal)
    for _ in range(2):
        signal = layers.Bidirectional(layers.LSTM(width, return_sequences=True))(signal)
        signal = layers.Dropout(_DROPOUT)(signal)
    logits = layers.Dense(len(TOKENS), name="logits")(signal)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(clip, probabilities, name="lips_grid")


def with_logits(network: keras.Model) -> keras.Model:
    """The same layers up to the logits, which the CTC loss wants."""
    return keras.Model(network.input, network.get_layer("logits").output)


def save(network: keras.Model, folder: Path) -> None:
    """Write `model.keras` and `vocabulary.json`, the folder that Sluice registers."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / "model.keras", include_optimizer=False)
    vocabulary = {"tokens": list(TOKENS), "blank": BLANK, "word_delimiter": WORD_DELIMITER}
    text = json.dumps(vocabulary, indent=1, ensure_ascii=False)
    (folder / "vocabulary.json").write_text(text + "\n", encoding="utf-8")


def _block(
    signal: keras.KerasTensor,
    channels: int,
    kernel: tuple[int, int, int],
    strides: tuple[int, int, int] = (1, 1, 1),
) -> keras.KerasTensor:
    signal = layers.Conv3D(channels, kernel, strides, padding="same", use_bias=False)(signal)
    signal = layers.BatchNormalization()(signal)
    return layers.Activation("relu")(signal)
