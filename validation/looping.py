"""Answers that say the same again and again, as speech and language models do when they are lost.

It looks at words as the normaliser left them and knows nothing of models or tokens. (The serving
programs watch the tokens of live answers by a rule of their own, which needs no reference.)
"""

from __future__ import annotations

import zlib

LONGEST_PHRASE = 8
FEWEST_TIMES = 3
FEWEST_WORDS = 6
COMPRESSION = 2.4
COMPRESSED_BYTES = 64
RULE = (
    f"a phrase of up to {LONGEST_PHRASE} words {FEWEST_TIMES} times or more in a row, "
    f"{FEWEST_WORDS} words in all, or {COMPRESSED_BYTES} bytes of UTF-8 or more that zlib "
    f"compresses over {COMPRESSION} times, "
    "and the reference does not"
)
"""What a report says that looping is."""


def is_looping(answer: str, reference: str) -> bool:
    """Whether `answer` repeats itself in a way that `reference` does not.

    It does when a phrase of up to 8 words stands 3 times or more in a row somewhere, 6 words in
    all, or when zlib shrinks its UTF-8, 64 bytes or more, over 2.4 times: beyond that Whisper
    takes its own transcript for a loop (Radford et al. 2022, section 4.5). Both texts are
    normalised already.
    """
    if answer == reference:
        return False
    if _repeats(answer.split()) and not _repeats(reference.split()):
        return True
    return _compresses(answer) and not _compresses(reference)


def _repeats(words: list[str]) -> bool:
    # Said n times, a phrase of p words leaves (n - 1) p words that were there before.
    if len(words) - len(set(words)) < FEWEST_WORDS * (FEWEST_TIMES - 1) // FEWEST_TIMES:
        return False
    for period in range(1, min(LONGEST_PHRASE, len(words) // FEWEST_TIMES) + 1):
        times = max(FEWEST_TIMES, -(-FEWEST_WORDS // period))
        run = 0
        for word, later in zip(words, words[period:], strict=False):
            run = run + 1 if word == later else 0
            if run == (times - 1) * period:
                return True
    return False


def _compresses(text: str) -> bool:
    data = text.encode(errors="surrogatepass")
    if len(data) < COMPRESSED_BYTES:
        return False
    return len(data) > COMPRESSION * len(zlib.compress(data))
