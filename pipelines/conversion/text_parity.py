"""How far a variant's answers are from those that Transformers' own greedy `generate` gives.

The variant decodes as a server would: a padded batch, the prompt in one call, then a token at a
time through its cache. Logits are compared as long as both have chosen the same tokens; after
that they are about different texts. It never says whether a difference is small enough: that is
the gate's question, asked of whole answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.text_graphs import cross_names, past_names
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.text_generation import Rules

    Step = Callable[[NDArray[np.int64]], NDArray[np.float32]]

PROBES = 32
"""Questions that parity is measured on, at most."""
MADE_UP = (
    "The red box is on the table.",
    "Please come back tomorrow at nine.",
    "How many books are there?",
    "one two three",
    "place red by d four soon",
    "I do not know.",
    "a",
    "Nobody has seen the white cat since Monday, and the children are worried about it.",
)
"""Questions for a conversion that was given none."""
_STEPS = 48  # Longer answers of a large model cost minutes and show nothing new.
_BATCH = 8


@dataclass(frozen=True)
class Answer:
    """Greedily chosen `tokens` [n], and the `logits` [n, V] that each was chosen from."""

    tokens: NDArray[np.int64]
    logits: NDArray[np.float32]


def reference(model: Any, rules: Rules, prompts: Sequence[Sequence[int]]) -> list[Answer]:
    """Transformers' answers to prompts of ids."""
    return [answer for batch in _batches(prompts) for answer in _generate(model, rules, batch)]


def measure(
    recipe: Recipe,
    folder: Path,
    rules: Rules,
    prompts: Sequence[Sequence[int]],
    expected: Sequence[Answer],
) -> Mapping[str, float]:
    """The variant's differences from `expected`, the answers to the same prompts.

    `agreement` is the share of prompts whose whole answers are the same. Raises
    PermanentEngineError when the variant computes NaN or infinity.
    """
    suffix = "onnx" if recipe.format == "onnx" else "xml"
    start = _start_seq2seq if rules.architecture == "seq2seq" else _start_causal
    sessions = {name: open_graph(folder / f"{name}.{suffix}") for name in graphs_of(rules)}
    found = [
        answer
        for batch in _batches(prompts)
        for answer in _greedy(*start(sessions, rules, batch), rules)
    ]
    if not all(np.isfinite(answer.logits).all() for answer in found):
        raise PermanentEngineError(
            f"the variant {recipe.variant!r} computes NaN or infinity on plain questions",
            remedy="leave it out of the variants, or check the checkpoint's weights",
        )
    pairs = list(zip(found, expected, strict=True))
    off = np.concatenate([_differences(one, other) for one, other in pairs])
    return {
        "questions": float(len(pairs)),
        "logits_max": float(off.max()),
        "logits_mean": float(off.mean()),
        "agreement": float(np.mean([_is_same(one, other) for one, other in pairs])),
    }


def examples(
    graphs: Mapping[str, Path],
    graph: str,
    rules: Rules,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Answer],
) -> list[dict[str, NDArray[Any]]]:
    """Real feeds of one graph, of one row each, made by the FP32 `graphs`.

    An encoder's are prompts; a decoder's are the steps that choose the last token of an answer,
    with all before it in the cache.
    """
    if graph == "encoder":
        pairs = (padded([prompt], rules.pad, left=False) for prompt in prompts)
        return [{"tokens": tokens, "mask": mask} for tokens, mask in pairs]
    sessions = {name: open_graph(path) for name, path in graphs.items()}
    fed: list[dict[str, NDArray[Any]]] = []

    def decoder(feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        fed.append(feed)
        return sessions["decoder"](feed)

    start = _start_seq2seq if rules.architecture == "seq2seq" else _start_causal
    last = []
    for prompt, answer in zip(prompts, answers, strict=True):
        step, new, _ = start(sessions | {"decoder": decoder}, rules, [prompt])
        for token in answer.tokens:
            step(new)
            new = np.array([[token]], dtype=np.int64)
        last.append(fed[-1])
    return last


def graphs_of(rules: Rules) -> tuple[str, ...]:
    """Names of the graphs that a model of that architecture has."""
    return ("encoder", "decoder") if rules.architecture == "seq2seq" else ("decoder",)


def padded(
    rows: Sequence[Sequence[int]], pad: int, *, left: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids [B, S] and their mask [B, S], padded on the `left` or on the right."""
    longest = max(len(row) for row in rows)
    tokens = np.full((len(rows), longest), pad, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        tokens[number, place], mask[number, place] = row, 1
    return tokens, mask


def _generate(model: Any, rules: Rules, batch: Sequence[Sequence[int]]) -> list[Answer]:
    import torch
    from transformers import GenerationConfig

    causal = rules.architecture == "causal"
    tokens, mask = (torch.from_numpy(one) for one in padded(batch, rules.pad, left=causal))
    start = torch.tensor([rules.start] * len(batch))
    # Else Transformers would fill what is not set here from the checkpoint's own.
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=_steps(rules, tokens.shape[1]),
        eos_token_id=list(rules.end),
        pad_token_id=rules.pad,
        decoder_start_token_id=None if causal else rules.start[0],
        suppress_tokens=list(rules.bad_tokens) or None,
        # Its cache of a T5 counts the encoder's layers, and fails when the decoder has more.
        use_cache=causal,
        output_logits=True,
        return_dict_in_generate=True,
    )
    with torch.inference_mode():
        made = model.generate(
            input_ids=tokens,
            attention_mask=mask,
            **({} if causal else {"decoder_input_ids": start}),
        )
    chosen = made.sequences[:, -len(made.logits) :].numpy()
    logits = torch.stack(made.logits, dim=1).numpy()
    return _cut(chosen, logits, rules)


def _steps(rules: Rules, prompt: int) -> int:
    room = rules.max_positions - prompt if rules.architecture == "causal" else _STEPS
    return max(1, min(rules.max_new_tokens, _STEPS, room))


def _greedy(step: Step, first: NDArray[np.int64], prompt: int, rules: Rules) -> list[Answer]:
    """Choose the best token of each row until all have ended."""
    banned = np.zeros(rules.vocabulary_size, dtype=np.float32)
    banned[list(rules.bad_tokens)] = -np.inf
    new, chosen, seen = first, [], []
    ended = np.zeros(len(first), dtype=bool)
    for _ in range(_steps(rules, prompt)):
        seen.append(step(new)[:, -1])
        new = (seen[-1] + banned).argmax(-1)[:, None]
        chosen.append(new[:, 0])
        ended |= np.isin(new[:, 0], rules.end)
        if ended.all():
            break
    return _cut(np.stack(chosen, axis=1), np.stack(seen, axis=1), rules)


def _start_seq2seq(
    sessions: Mapping[str, Any], rules: Rules, batch: Sequence[Sequence[int]]
) -> tuple[Step, NDArray[np.int64], int]:
    tokens, source = padded(batch, rules.pad, left=False)
    heard = sessions["encoder"]({"tokens": tokens, "mask": source})
    fixed = {"source_mask": source} | {name: heard[name] for name in cross_names(rules.layers)}
    past = _no_past(rules, len(batch))

    def step(new: NDArray[np.int64]) -> NDArray[np.float32]:
        columns = past["past_key_0"].shape[2] + new.shape[1]
        mask = np.ones((len(new), columns), dtype=np.int64)
        result = sessions["decoder"]({"tokens": new, "mask": mask, **fixed, **past})
        _grow(past, result, rules)
        return np.asarray(result["logits"])

    return step, np.tile(np.array(rules.start, dtype=np.int64), (len(batch), 1)), tokens.shape[1]


def _start_causal(
    sessions: Mapping[str, Any], rules: Rules, batch: Sequence[Sequence[int]]
) -> tuple[Step, NDArray[np.int64], int]:
    tokens, mask = padded(batch, rules.pad, left=True)
    past = _no_past(rules, len(batch))
    masks = [mask]

    def step(new: NDArray[np.int64]) -> NDArray[np.float32]:
        if past["past_key_0"].shape[2]:
            masks.append(np.concatenate([masks[-1], np.ones_like(new)], axis=1))
        positions = np.maximum(masks[-1].cumsum(-1) - 1, 0)[:, -new.shape[1] :]
        feed = {"tokens": new, "mask": masks[-1], "positions": positions, **past}
        result = sessions["decoder"](feed)
        _grow(past, result, rules)
        return np.asarray(result["logits"])

    return step, tokens, tokens.shape[1]


def _no_past(rules: Rules, batch: int) -> dict[str, NDArray[np.float32]]:
    empty = np.zeros((batch, rules.heads, 0, rules.head_width), dtype=np.float32)
    return dict.fromkeys(past_names(rules.layers), empty)


def _grow(past: dict[str, NDArray[np.float32]], result: Mapping[str, Any], rules: Rules) -> None:
    names = zip(past_names(rules.layers), past_names(rules.layers, "present"), strict=True)
    past.update({old: result[new] for old, new in names})


def _cut(chosen: NDArray[np.int64], logits: NDArray[np.float32], rules: Rules) -> list[Answer]:
    """Each row up to its end, that included."""
    answers = []
    for tokens, scores in zip(chosen, logits, strict=True):
        ends = np.flatnonzero(np.isin(tokens, rules.end))
        length = int(ends[0]) + 1 if len(ends) else len(tokens)
        answers.append(Answer(tokens[:length], scores[:length]))
    return answers


def _is_same(one: Answer, other: Answer) -> bool:
    return np.array_equal(one.tokens, other.tokens)


def _differences(one: Answer, other: Answer) -> NDArray[np.float32]:
    """Of all logits up to the first token that differs, its own included."""
    length = min(len(one.tokens), len(other.tokens))
    differ = np.flatnonzero(one.tokens[:length] != other.tokens[:length])
    upto = int(differ[0]) + 1 if len(differ) else length
    off: NDArray[np.float32] = np.abs(one.logits[:upto] - other.logits[:upto])
    return off.ravel()


def _batches(rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
