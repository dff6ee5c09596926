"""Lip-reading as Triton serves it: clip in, transcript and signals of its quality out."""
