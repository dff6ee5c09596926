"""CTC speech as Triton serves it: waveform in, transcript and signals of its quality out."""
