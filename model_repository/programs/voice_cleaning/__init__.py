"""Voice cleaning as Triton serves it: noisy waveform in, cleaned one of the same length out."""
