"""Greedy answers on bare ONNX Runtime, one text at a time and with nothing remembered.

Run by the serving environment's interpreter; shares no code with the program that it is compared
with. `generation_plain.py FOLDER` reads a JSON list of [text, most tokens] and writes, for each,
[text of the answer, token ids without the end, average log-probability].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import sentencepiece
import tokenizers

NO_PAST = 0


class Plain:
    def __init__(self, folder: Path) -> None:
        self.values = json.loads((folder / "generation.json").read_text())
        self.folder = folder
        self.decoder = onnxruntime.InferenceSession(str(folder / "decoder.onnx"))
        self.causal = self.values["architecture"] == "causal"
        if self.causal:
            self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            return
        self.encoder = onnxruntime.InferenceSession(str(folder / "encoder.onnx"))
        self.source, self.target = (
            sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{side}.spm"))
            for side in ("source", "target")
        )
        self.ids = json.loads((folder / "vocab.json").read_text())

    def answer(self, text: str, most: int) -> tuple[str, list[int], float]:
        prompt = self.encode(self.values["prompt_template"].replace("{text}", text))
        said: list[int] = []
        scores: list[float] = []
        most = min(most, self.values["max_new_tokens"])
        if self.causal:
            most = min(most, self.values["max_positions"] - len(prompt))
        while len(scores) < most:
            logits = self.logits(prompt, said).astype(np.float64)
            logits[self.values["bad_tokens"]] = -np.inf
            best = int(logits.argmax())
            scores.append(-float(np.log(np.exp(logits - logits[best]).sum())))
            if best in self.values["end"]:
                break
            said.append(best)
            if any(stop in self.decode(said) for stop in self.values["stop"]):
                break
        answer = self.decode(said)
        for stop in self.values["stop"]:
            answer = answer.split(stop)[0]
        return answer.strip(), said, sum(scores) / len(scores)

    def encode(self, prompt: str) -> list[int]:
        if self.causal:
            adds = self.values["add_special_tokens"]
            return list(self.tokenizer.encode(prompt, add_special_tokens=adds).ids)
        pieces = self.source.encode(prompt, out_type=str)
        ids: list[int] = [self.ids.get(piece, self.ids["<unk>"]) for piece in pieces]
        return [*ids, *self.values["source_suffix"]]

    def decode(self, said: list[int]) -> str:
        said = [token for token in said if token not in self.values["special"]]
        if self.causal:
            return str(self.tokenizer.decode(said))
        pieces = {token: piece for piece, token in self.ids.items()}
        return str(self.target.decode([pieces[token] for token in said]))

    def logits(self, prompt: list[int], said: list[int]) -> Any:
        shape = (1, self.values["heads"], NO_PAST, self.values["head_width"])
        tokens = [*prompt, *said] if self.causal else [*self.values["start"], *said]
        feeds: dict[str, Any] = {"tokens": np.array([tokens])}
        for one in self.decoder.get_inputs():
            if one.name.startswith("past"):
                feeds[one.name] = np.zeros(shape, np.float32)
        feeds["mask"] = np.ones((1, len(tokens)), np.int64)
        if self.causal:
            feeds["positions"] = np.arange(len(tokens))[None]
        else:
            source = {"tokens": np.array([prompt]), "mask": np.ones((1, len(prompt)), np.int64)}
            crosses = [one.name for one in self.encoder.get_outputs()]
            feeds |= zip(crosses, self.encoder.run(crosses, source), strict=True)
            feeds["source_mask"] = source["mask"]
        return self.decoder.run(["logits"], feeds)[0][0, -1]


if __name__ == "__main__":
    plain = Plain(Path(sys.argv[1]))
    answers = [plain.answer(text, most) for text, most in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(answers))
