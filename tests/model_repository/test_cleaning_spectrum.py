"""The transform against scipy's, and that nothing is lost between it and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import signal  # type: ignore[import-untyped]  # scipy has no types

from model_repository.programs.voice_cleaning.spectrum import ShortTimeFourier

GRID = ShortTimeFourier(48_000, 512, 128)


@st.composite
def transforms(draw: st.DrawFn) -> ShortTimeFourier:
    """Any sizes that the inspector lets pass, hops that divide nothing included."""
    n_fft = 2 * draw(st.integers(2, 24))
    hop = draw(st.integers(1, n_fft // 2))
    return ShortTimeFourier(hop * draw(st.integers(1, 40)), n_fft, hop)


def noise(size: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(transforms(), st.data())
def test_an_untouched_spectrum_gives_the_waveform_back(
    transform: ShortTimeFourier, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, transform.window_samples))
    waveform = noise(size, data.draw(st.integers(0, 99)))
    spectrum = transform.spectrum(waveform)
    assert spectrum.shape[1] == transform.bins
    assert 1 <= len(spectrum) <= transform.frames
    back = transform.waveform(spectrum, size)
    assert back.shape == waveform.shape
    assert back.dtype == np.float32
    assert np.abs(back - waveform).max() < 1e-5


@settings(max_examples=100, deadline=None)
@given(transforms(), st.data())
def test_frames_that_are_left_out_are_zero(
    transform: ShortTimeFourier, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, transform.window_samples))
    waveform = noise(size)
    short = transform.spectrum(waveform)
    whole = transform.spectrum(np.pad(waveform, (0, transform.window_samples - size)))
    assert len(whole) == transform.frames
    assert np.abs(whole[: len(short)] - short).max() < 1e-5
    assert not whole[len(short) :].any()


@settings(max_examples=100, deadline=None)
@given(transforms(), st.integers(0, 99))
def test_forward_equals_scipy(transform: ShortTimeFourier, seed: int) -> None:
    assume(transform.window_samples >= transform.n_fft)
    waveform = noise(transform.window_samples, seed)
    _, _, theirs = signal.stft(
        waveform.astype(np.float64),
        window="hann",
        nperseg=transform.n_fft,
        noverlap=transform.n_fft - transform.hop,
        boundary="zeros",
        padded=False,
    )
    # scipy scales by the window's sum; nothing else differs.
    theirs = theirs.T * signal.get_window("hann", transform.n_fft).sum()
    ours = transform.spectrum(waveform)
    assert len(ours) == transform.frames
    # scipy leaves out a last frame that would reach beyond its own padding.
    assert len(theirs) >= transform.frames - 1
    frames = min(len(theirs), len(ours))
    assert np.abs(ours[:frames] - theirs[:frames]).max() < 1e-4


def test_inverse_of_a_masked_spectrum_equals_scipy() -> None:
    waveform = noise(GRID.window_samples)
    mask = np.random.default_rng(1).uniform(size=(GRID.frames, GRID.bins))
    masked = (GRID.spectrum(waveform) * mask).astype(np.complex64)
    _, theirs = signal.istft(
        masked.T.astype(np.complex128) / signal.get_window("hann", 512).sum(),
        window="hann",
        nperseg=512,
        noverlap=384,
        boundary=True,
    )
    assert np.abs(GRID.waveform(masked, 48_000) - theirs[:48_000]).max() < 1e-5


def test_a_tone_is_in_its_bin() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16_000).astype(np.float32)
    magnitude = np.abs(GRID.spectrum(tone))
    assert (magnitude[4:-4].argmax(axis=1) == 32).all()
    # Half of the window's sum: the peak of a full-scale tone.
    assert magnitude[100, 32] == pytest.approx(128, rel=1e-3)


def test_silence_is_silence() -> None:
    silence = np.zeros(1000, np.float32)
    assert not GRID.spectrum(silence).any()
    assert not GRID.waveform(GRID.spectrum(silence), 1000).any()
