"""Adapters to engines: local Triton and Envoy, their supervision, environments."""
