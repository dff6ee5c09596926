"""When each phoneme of a sentence is said: espeak-ng through ctypes, its sound thrown away.

`speech.synthesis` uses the same library for its samples, initialised without phoneme events. The
library keeps one global state, so one process uses either that module or this one.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

SAMPLES_PER_SECOND = 22_050
"""The clock of `Phoneme.start`."""

# speak_lib.h of espeak-ng 1.52
_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_RATE, _UTF8, _PHONEME_INPUT = 1, 1, 0x100
_LIST_END, _WORD, _PHONEME = 0, 1, 7
_STRESS = "',%=_|"


class TimingError(RuntimeError):
    """espeak-ng refused a voice or a text."""


@dataclass(frozen=True)
class Phoneme:
    """A phoneme by espeak's mnemonic, without stress marks; "" is silence.

    `start` is in samples since the sentence began; `word` is the number of its word, from 0.
    """

    name: str
    start: int
    word: int


def phonemes(text: str, voice: str, words_per_minute: int) -> tuple[Phoneme, ...]:
    """The phonemes of `text` in order; the last one is the silence after it.

    `voice` is espeak's name of a language, `words_per_minute` 80 to 450. Raises TimingError when
    espeak-ng does not know the voice or answers with an error.
    """
    return _engine().phonemes(text, voice, words_per_minute)


class _Event(ctypes.Structure):
    # espeak_EVENT; `id` is the member of its union that phoneme events fill.
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _Engine:
    """The one espeak-ng of this process."""

    def __init__(self) -> None:
        # espeakng-loader carries the shared library and the voices in a wheel.
        import espeakng_loader  # type: ignore[import-untyped]  # the wheel has no types

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._found: list[Phoneme] = []
        self._word = -1
        self._callback = _CALLBACK(self._receive)
        data = espeakng_loader.get_data_path().encode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS)
        if rate != SAMPLES_PER_SECOND:
            message = f"espeak-ng speaks at {rate} Hz, not at 22,050: use espeakng-loader 0.2.4"
            raise TimingError(message)
        self._library.espeak_SetSynthCallback(self._callback)

    def phonemes(self, text: str, voice: str, words_per_minute: int) -> tuple[Phoneme, ...]:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            message = f"espeak-ng has no voice {voice}: use espeakng-loader 0.2.4"
            raise TimingError(message)
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._found.clear()
        self._word = -1
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, len(encoded) + 1, 0, 1, 0, _UTF8 | _PHONEME_INPUT, None, None
        )
        if status != 0 or not self._found:
            message = f"espeak-ng answered {status} for {text!r}"
            raise TimingError(message)
        return tuple(self._found)

    def _receive(
        self,
        _samples: ctypes._Pointer[ctypes.c_short],
        _count: int,
        events: ctypes._Pointer[_Event],
    ) -> int:
        position = 0
        while events[position].type != _LIST_END:
            event = events[position]
            if event.type == _WORD:
                self._word += 1
            elif event.type == _PHONEME:
                name = event.id.decode().strip(_STRESS).rstrip(":")
                self._found.append(Phoneme(name, event.sample, self._word))
            position += 1
        return 0


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@cache
def _engine() -> _Engine:
    return _Engine()
