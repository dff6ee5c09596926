"""Exact matches of a checkpoint folder, by Transformers' own tokenizer and greedy generate.

The folder is read as a stranger would read it, so the figure speaks for the files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MarianMTModel,
    MarianTokenizer,
)

from translation.causal import prompt
from translation.splits import SPLITS, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BATCH = 100


def exact_match(folder: Path) -> float:
    """The share of the evaluation set's sentences whose answer is the one right answer."""
    rows = rows_of(SPLITS["text-evaluation"])
    answers = answers_of(folder, [row.source for row in rows])
    right = sum(row.text == answer for row, answer in zip(rows, answers, strict=True))
    return right / len(rows)


def answers_of(folder: Path, sources: Sequence[str]) -> list[str]:
    """The greedy answers of the checkpoint in `folder`."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    answer = _translations if kind == "marian" else _completions
    return [
        text.strip()
        for start in range(0, len(sources), _BATCH)
        for text in answer(folder, list(sources[start : start + _BATCH]))
    ]


def _translations(folder: Path, sources: list[str]) -> list[str]:
    model = MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = MarianTokenizer.from_pretrained(folder)
    batch = tokenizer(sources, return_tensors="pt", padding=True)
    with torch.inference_mode():
        ids = model.generate(**batch, num_beams=1, do_sample=False)
    return list(tokenizer.batch_decode(ids, skip_special_tokens=True))


def _completions(folder: Path, sources: list[str]) -> list[str]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    batch = tokenizer([prompt(source) for source in sources], return_tensors="pt", padding=True)
    with torch.inference_mode():
        ids = model.generate(**batch, do_sample=False)
    asked = batch["input_ids"].shape[1]
    return list(tokenizer.batch_decode(ids[:, asked:], skip_special_tokens=True))
