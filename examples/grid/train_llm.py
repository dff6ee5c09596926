"""Make the causal checkpoint: `python train_llm.py --out models`.

Run it with the converter's interpreter.
"""

from __future__ import annotations

import shutil
import sys

import torch

from training_run import options, say
from translation.causal import new_model, prompt, save, write_tokenizer
from translation.scoring import exact_match
from translation.splits import training_sentences
from translation.training import Schedule, causal_batches, train

NAME = "llm-grid"
SEED = 7


def main() -> int:
    """Train, save the checkpoint, and say how well it does on the evaluation set."""
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    folder = arguments.out / NAME
    shutil.rmtree(folder, ignore_errors=True)
    pairs = training_sentences()
    tokenizer = write_tokenizer(folder, pairs)
    model = new_model(tokenizer)
    questions = tokenizer([prompt(source) for source, _ in pairs]).input_ids
    answers = tokenizer([target + tokenizer.eos_token for _, target in pairs]).input_ids
    examples = list(zip(questions, answers, strict=True))
    schedule = Schedule(arguments.steps)
    train(model, causal_batches(examples, schedule, tokenizer.pad_token_id), schedule)
    save(folder, model)
    say(f"{NAME}: {exact_match(folder):.2%} of the evaluation set exactly right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
