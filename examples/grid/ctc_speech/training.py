"""The training loop: CTC loss on the recogniser's batches, AdamW with a cosine, one CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ctc_speech.vocabulary import BLANK, IDS, spell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import WhisperTokenizerFast

    from ctc_speech.network import WhisperForCTC
    from recogniser.batches import Batch
    from recogniser.training import Schedule

_IGNORED = -100  # the recogniser's sign for "any token"


def train(
    network: WhisperForCTC,
    batches: Iterator[Batch],
    tokenizer: WhisperTokenizerFast,
    schedule: Schedule,
    after_step: Callable[[int, float], None],
) -> None:
    """Train `network` in place on batches whose labels `tokenizer` made.

    `after_step` gets the number of steps done and the loss.
    """
    network.train()
    network.set_attn_implementation("eager")  # a third faster than SDPA's backward on a CPU
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.peak, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = _loss(network, next(batches), tokenizer)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        after_step(step + 1, loss.item())


def _loss(network: WhisperForCTC, batch: Batch, tokenizer: WhisperTokenizerFast) -> torch.Tensor:
    """CTC loss (Graves et al. 2006), in nats a character."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(batch.features)
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    spelt = [torch.tensor(spell(text)) for text in _texts(batch, tokenizer)]
    return functional.ctc_loss(
        scores,
        torch.cat(spelt),
        torch.full((len(spelt),), len(scores)),
        torch.tensor([len(one) for one in spelt]),
        blank=IDS[BLANK],
        zero_infinity=True,
    )


def _texts(batch: Batch, tokenizer: WhisperTokenizerFast) -> list[str]:
    """What is said in each clip; nothing where the speech was taken away."""
    labels = batch.labels.masked_fill(batch.labels == _IGNORED, tokenizer.pad_token_id)
    texts = tokenizer.batch_decode(labels, skip_special_tokens=True)
    return [text.strip() for text in texts]
