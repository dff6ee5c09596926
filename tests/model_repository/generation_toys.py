"""Makes small generation variants of random weights; run by the converter's interpreter.

`generation_toys.py FOLDER` writes FOLDER/{llm,translation}{,-openvino}: graphs, generation.json,
tokenizer files and variant.json as a conversion leaves them. Weights are large, so that answers
vary with question and position instead of settling on one token.
"""

from __future__ import annotations

import io
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

LAYERS, HEADS, WIDTH = 2, 2, 16
SIZE = HEADS * WIDTH
END, PAD, NAN, OUTSIDE = 256, 257, 258, 259
"""Of the llm: end, padding, a token of no number, and one that the graph has no row for."""
NAN_WORD, OUTSIDE_WORD, END_WORD = "\N{BIOHAZARD SIGN}", "\N{SKULL AND CROSSBONES}", "<|end|>"


class Layer(torch.nn.Module):  # type: ignore[misc]  # the converter's own
    """Attention over what is remembered, and over a source when there is one."""

    def __init__(self, *, reads_source: bool) -> None:
        super().__init__()
        self.own = torch.nn.Linear(SIZE, 3 * SIZE)
        self.out = torch.nn.Linear(SIZE, SIZE)
        self.source = torch.nn.Linear(SIZE, SIZE) if reads_source else None
        self.mix = torch.nn.Linear(SIZE, SIZE)

    def forward(
        self, x: Any, past: tuple[Any, Any], allowed: Any, cross: tuple[Any, Any, Any] | None
    ) -> tuple[Any, tuple[Any, Any]]:
        query, key, value = map(split, self.own(norm(x)).chunk(3, -1))
        key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        x = x + self.out(attend(query, key, value, allowed))
        if cross is not None and self.source is not None:
            x = x + attend(split(self.source(norm(x))), *cross)
        return x + torch.tanh(self.mix(norm(x))), (key, value)


def norm(x: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (SIZE,))


def split(x: Any) -> Any:
    return x.reshape(x.shape[0], x.shape[1], HEADS, WIDTH).transpose(1, 2)


def attend(query: Any, key: Any, value: Any, allowed: Any) -> Any:
    scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH)
    scores = torch.where(allowed, scores, torch.full_like(scores, -1e9))
    mixed = torch.softmax(scores, -1) @ value
    return mixed.transpose(1, 2).reshape(mixed.shape[0], mixed.shape[2], SIZE)


def causal(columns: Any, new: Any) -> Any:
    """Which of [columns] each of the last `new` positions may look at, [new, columns]."""
    places = torch.arange(columns)
    return places[None, :] <= places[columns - new :, None]


class Decoder(torch.nn.Module):  # type: ignore[misc]  # the converter's own
    """Both architectures: a causal one is given its positions, a seq2seq one counts them."""

    def __init__(self, rows: int, vocabulary: int, end_bias: float, *, seq2seq: bool) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(rows, SIZE)
        self.places = torch.nn.Embedding(5000, SIZE)
        self.layers = torch.nn.ModuleList(Layer(reads_source=seq2seq) for _ in range(LAYERS))
        self.head = torch.nn.Linear(SIZE, vocabulary)
        self.seq2seq = seq2seq
        self.end_bias = end_bias
        self.end = 0 if seq2seq else END

    def forward(self, tokens: Any, mask: Any, *others: Any) -> tuple[Any, ...]:
        pairs = 2 * LAYERS
        if self.seq2seq:
            heard, past, cross = others[0], others[1 : 1 + pairs], others[1 + pairs :]
            positions = torch.cumsum(mask, dim=1)[:, past[0].shape[2] :] - 1
        else:
            positions, past = others[0], others[1:]
        allowed = causal(mask.shape[1], tokens.shape[1])[None, None]
        allowed = allowed & (mask[:, None, None, :] == 1)
        x = self.tokens(tokens) + self.places(positions)
        present: list[Any] = []
        for number, layer in enumerate(self.layers):
            pair = slice(2 * number, 2 * number + 2)
            source = (*cross[pair], heard[:, None, None, :] == 1) if self.seq2seq else None
            x, kept = layer(x, tuple(past[pair]), allowed, source)
            present += kept
        logits = self.head(norm(x))
        bias = torch.zeros(logits.shape[-1])
        bias[self.end] = self.end_bias
        return (logits + bias, *present)


class Encoder(torch.nn.Module):  # type: ignore[misc]  # the converter's own
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, SIZE)
        self.places = torch.nn.Embedding(500, SIZE)
        self.pairs = torch.nn.ModuleList(torch.nn.Linear(SIZE, SIZE) for _ in range(2 * LAYERS))

    def forward(self, tokens: Any, mask: Any) -> tuple[Any, ...]:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1])[None])
        x = x * mask[..., None]
        return tuple(split(pair(norm(x))) for pair in self.pairs)


def names(prefix: str) -> list[str]:
    return [f"{prefix}_{part}_{layer}" for layer in range(LAYERS) for part in ("key", "value")]


def export(model: Any, path: Path, feeds: dict[str, Any], outputs: list[str]) -> None:
    axes = {
        "tokens": {0: "B", 1: "T"},
        "mask": {0: "B", 1: "M"},
        "source_mask": {0: "B", 1: "S"},
        "positions": {0: "B", 1: "T"},
        "logits": {0: "B", 1: "T"},
        **{name: {0: "B", 2: "P"} for name in names("past")},
        **{name: {0: "B", 2: "Q"} for name in names("present")},
        **{name: {0: "B", 2: "S"} for name in names("cross")},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            tuple(feeds.values()),
            path,
            input_names=list(feeds),
            output_names=outputs,
            dynamic_axes={name: axes[name] for name in (*feeds, *outputs)},
            opset_version=17,
            dynamo=False,
        )


def cache(prefix: str, columns: int) -> dict[str, Any]:
    return {name: torch.randn(2, HEADS, columns, WIDTH) for name in names(prefix)}


def describe(folder: Path, **values: Any) -> None:
    same = {
        "layers": LAYERS,
        "heads": HEADS,
        "head_width": WIDTH,
        "start": [],
        "stop": [],
        "source_prefix": [],
        "source_suffix": [],
        "add_special_tokens": False,
        "special_words": [],
    }
    (folder / "generation.json").write_text(json.dumps(same | values))
    recipe = {"variant": "onnx-fp32", "format": "onnx", "precision": "fp32", "parameters": {}}
    (folder / "variant.json").write_text(json.dumps({"recipe": recipe, "longest_question": None}))


def make_llm(folder: Path) -> None:
    """A byte-level model: any byte can follow any other, so characters come in parts."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True)
    torch.manual_seed(1)
    model = Decoder(NAN + 1, PAD + 1, end_bias=2.5, seq2seq=False)
    with torch.no_grad():
        model.head.weight *= 3
        # Letters and two-byte characters, mostly.
        favoured = [*b" abcdefghijklmnopqrstuvwxyz;", 0xC3, 0xA9, 0xBC]
        model.head.bias[favoured] += 4
        model.tokens.weight[NAN] = float("nan")
    feeds = {
        "tokens": torch.zeros(2, 3, dtype=torch.int64),
        "mask": torch.ones(2, 5, dtype=torch.int64),
        "positions": torch.zeros(2, 3, dtype=torch.int64),
        **cache("past", 2),
    }
    export(model, folder / "decoder.onnx", feeds, ["logits", *names("present")])
    # The id of each byte is the byte itself.
    letters = {letter: byte for byte, letter in bytes_to_letters().items()}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_WORD), AddedToken("<|pad|>")])
    tokenizer.add_tokens([AddedToken(NAN_WORD), AddedToken(OUTSIDE_WORD)])
    tokenizer.save(str(folder / "tokenizer.json"))
    describe(
        folder,
        architecture="causal",
        vocabulary_size=PAD + 1,
        end=[END],
        pad=PAD,
        bad_tokens=[PAD],
        special=[END, PAD],
        special_words=[END_WORD],
        stop=[";"],
        max_positions=400,
        max_new_tokens=60,
        prompt_template="say: {text} {and}",
        tokenizer="tokenizers",
    )


def bytes_to_letters() -> dict[int, str]:
    """GPT-2's table: printable bytes are themselves, others are letters beyond 255."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


def make_translation(folder: Path) -> None:
    import sentencepiece

    folder.mkdir(parents=True)
    torch.manual_seed(2)
    words = ["bin", "blue", "at", "f", "two", "now", "place", "red", "by", "nine", "soon", "again"]
    vocabulary = {"</s>": 0, "<unk>": 1}
    for side, seed in (("source", 0), ("target", 5)):
        lines = [" ".join(words[(seed + i * k) % 12] for k in range(1, 6)) for i in range(200)]
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            vocab_size=32,
            minloglevel=2,
            num_threads=1,
        )
        (folder / f"{side}.spm").write_bytes(written.getvalue())
        pieces = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        for piece in range(3, pieces.get_piece_size()):
            vocabulary.setdefault(pieces.id_to_piece(piece), len(vocabulary))
    pad = vocabulary["<pad>"] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    decoder = Decoder(pad + 1, pad + 1, end_bias=1.0, seq2seq=True)
    with torch.no_grad():
        decoder.head.weight *= 3
    tokens, mask = (torch.ones(2, 3, dtype=torch.int64) for _ in range(2))
    source = {"tokens": tokens, "mask": mask}
    export(Encoder(pad + 1), folder / "encoder.onnx", source, names("cross"))
    feeds = {
        "tokens": tokens,
        "mask": torch.ones(2, 5, dtype=torch.int64),
        "source_mask": mask,
        **cache("past", 2),
        **cache("cross", 3),
    }
    export(decoder, folder / "decoder.onnx", feeds, ["logits", *names("present")])
    describe(
        folder,
        architecture="seq2seq",
        vocabulary_size=pad + 1,
        start=[pad],
        end=[0],
        pad=pad,
        bad_tokens=[pad],
        special=[0, 1, pad],
        source_suffix=[0],
        max_positions=40,
        max_new_tokens=30,
        prompt_template="{text}",
        tokenizer="sentencepiece-pair",
    )


def to_openvino(folder: Path, target: Path) -> None:
    import shutil

    import openvino

    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.onnx"))
    for graph in folder.glob("*.onnx"):
        openvino.save_model(
            openvino.convert_model(graph), target / f"{graph.stem}.xml", compress_to_fp16=False
        )
    text = (target / "variant.json").read_text()
    (target / "variant.json").write_text(text.replace("onnx", "openvino"))


def main(root: Path) -> None:
    make_llm(root / "llm")
    make_translation(root / "translation")
    for name in ("llm", "translation"):
        to_openvino(root / name, root / f"{name}-openvino")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
