"""Claims a SentencePiece model: one protobuf message of pieces, to its last byte.

Fields are those of sentencepiece_model.proto: pieces, trainer, normaliser, self-test data and
denormaliser, each of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.intake.reading import Reading
from registry.intake.wire import DamagedError, Wire, message

if TYPE_CHECKING:
    from registry.intake.source import Source

_MAX_BYTES = 64 * 1024**2
_PIECE, _KNOWN = 1, frozenset({1, 2, 3, 4, 5})
_PIECE_FIELDS = frozenset({1, 2, 3})


def read_sentencepiece(source: Source) -> Reading:
    """Claim a SentencePiece model. Raises UserError when it is cut short or something else."""
    content = source.whole(_MAX_BYTES, "a SentencePiece model")
    wire, pieces = Wire(), 0
    try:
        for number, value in wire.fields(memoryview(content)):
            if number not in _KNOWN:
                raise DamagedError(f"it holds a field {number}")  # noqa: TRY301 - as its reader's
            if number == _PIECE:
                pieces += 1
                fields = {part for part, _ in wire.fields(message(value))}
                if not fields or fields - _PIECE_FIELDS:
                    raise DamagedError("a piece is none")  # noqa: TRY301 - as above
    except DamagedError as error:
        raise source.damaged(f"it is no SentencePiece model: {error}") from error
    if not pieces:
        raise source.damaged("it is a SentencePiece model without pieces")
    return Reading("sentencepiece")
