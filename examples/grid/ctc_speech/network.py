"""The network and its folder: Transformers' WhisperEncoder, and a linear layer over characters.

Transformers has no class of this shape; checkpoints of it carry `WhisperForCTC` in their
configuration. Weights are saved as float16 safetensors.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional
from transformers import Wav2Vec2CTCTokenizer, WhisperConfig, WhisperPreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ctc_speech.vocabulary import BLANK, DELIMITER, IDS
from recogniser.checkpoint import HOP, feature_extractor
from speech.synthesis import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_MEL_BINS = 80
_WIDTH = 128
_LAYERS = 3


class WhisperForCTC(WhisperPreTrainedModel):  # type: ignore[misc]  # only in the converter
    """Log-mel features [B, 80, frames] to logits [B, frames / 2, vocabulary]."""

    def __init__(self, config: WhisperConfig) -> None:
        """Make the layers of `config`, untrained."""
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size)
        self.post_init()

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """Return the logits; the features may fill less than the window."""
        encoder = self.encoder
        # Without WhisperEncoder.forward, which refuses windows shorter than its position table.
        hidden = functional.gelu(encoder.conv1(input_features))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, attention_mask=None, layer_head_mask=None)[0]
        return self.lm_head(encoder.layer_norm(hidden))


def new_network(window: float) -> WhisperForCTC:
    """Return an untrained network of 0.7 million parameters that hears `window` seconds."""
    config = WhisperConfig(
        vocab_size=len(IDS),
        num_mel_bins=_MEL_BINS,
        d_model=_WIDTH,
        encoder_layers=_LAYERS,
        encoder_attention_heads=4,
        encoder_ffn_dim=4 * _WIDTH,
        decoder_layers=0,
        is_encoder_decoder=False,
        max_source_positions=round(window * SAMPLE_RATE / HOP / 2),
        # As for the recogniser: the default .02 suits a width of 1024.
        init_std=0.08,
        begin_suppress_tokens=None,
        bos_token_id=IDS["<s>"],
        eos_token_id=IDS["</s>"],
        pad_token_id=IDS[BLANK],
        decoder_start_token_id=IDS["<s>"],
    )
    network = WhisperForCTC(config)
    for convolution in (network.encoder.conv1, network.encoder.conv2):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    # Small logits at first: CTC otherwise takes long to leave the characters that it began with.
    nn.init.normal_(network.lm_head.weight, std=0.02)
    return network


def save_network(folder: Path, network: WhisperForCTC) -> None:
    """Write `network` as float16, its vocabulary and its feature extractor into `folder`."""
    window = network.config.max_source_positions * 2 * HOP / SAMPLE_RATE
    copy.deepcopy(network).half().save_pretrained(folder)
    feature_extractor(window).save_pretrained(folder)
    _tokenizer(folder).save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def _tokenizer(folder: Path) -> Wav2Vec2CTCTokenizer:
    path = folder / "vocab.json"
    path.write_text(json.dumps(IDS), encoding="utf-8")
    return Wav2Vec2CTCTokenizer(path, pad_token=BLANK, word_delimiter_token=DELIMITER)
