"""Names an answer's text without showing it, so that two releases' answers can be compared.

A plain hash of a short text can be guessed: everybody can hash "yes". So the hash is keyed, with a
random key that no log holds. One key serves a whole workspace and every release in it, because a
candidate's answers must have the names that its baseline's have. Whoever holds log and key can
still guess texts; whoever replaces the key makes earlier names comparable with each other only.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from hashlib import blake2b
from pathlib import Path

KEY_VARIABLE = "SLUICE_TEXT_KEY"
"""Names the file with the key, 16 to 64 bytes; without it texts get no name."""
_BYTES = 8
"""Of a name: two of a million different texts share one with a chance of 3 in 100 million."""

_logger = logging.getLogger(__name__)


def fingerprint(text: str) -> str | None:
    """A name of `text`, 16 hex digits: keyed BLAKE2b (RFC 7693); None without a text or a key."""
    path = os.environ.get(KEY_VARIABLE)
    key = _key(path) if path and text else None
    if key is None:
        return None
    return blake2b(text.encode(), digest_size=_BYTES, key=key).hexdigest()


@cache
def _key(path: str) -> bytes | None:
    """The key; None, and a word in the log, where there is none: no answer waits for a name."""
    try:
        key = Path(path).read_bytes()
    except OSError as error:
        _logger.warning("answers get no text_hash: %s", error)
        return None
    if not 16 <= len(key) <= 64:
        _logger.warning("answers get no text_hash: %s holds %d bytes", path, len(key))
        return None
    return key
