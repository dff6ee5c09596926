"""One served request as a prediction record: features of its audio, of its answer, and its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .quality import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .transcriber import Answer

PROBE = "x-sluice-probe"
"""Request parameter of those who only look (admission, attribution): they are not recorded."""


def record(
    waveform: NDArray[np.float32],
    answer: Answer | str,
    parameters: Mapping[str, Any],
    *,
    sample_rate: int,
    at: float,
    latency_ms: float,
) -> dict[str, Any]:
    """Fields of the prediction log for one request; `answer` is the reason when it was refused.

    Session and request come from the forwarded headers `x-session-id` and `x-request-id`.
    """
    fields: dict[str, Any] = {
        "at": at,
        "session": _text(parameters, "x-session-id"),
        "request": _text(parameters, "x-request-id"),
        "sample_rate": sample_rate,
        "latency_ms": latency_ms,
        "duration_s": waveform.size / sample_rate,
    }
    if isinstance(answer, str):
        return fields | {"error": answer}
    sound = describe(waveform, sample_rate)
    return fields | {
        "rms": sound.rms,
        "speech_ratio": sound.speech_ratio,
        "snr_db": sound.snr_db,
        "length_chars": len(answer.transcript),
        "token_count": answer.token_count,
        "chars_per_s": len(answer.transcript) / fields["duration_s"],
        "compression_ratio": answer.compression_ratio,
        "average_log_probability": answer.average_log_probability,
        "no_speech_probability": answer.no_speech_probability,
        "empty": not answer.transcript,
        "looping": answer.looping,
    }


def _text(parameters: Mapping[str, Any], name: str) -> str:
    # The protocol decides the case in which a header arrives.
    found = (str(value) for key, value in parameters.items() if key.lower() == name)
    return next(found, "")
