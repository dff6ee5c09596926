"""Engines as local processes: Triton revisions, Envoy, Prefect and MLflow under one supervisor.

Everything listens on loopback, and `shutdown` leaves nothing running. This package acts and looks;
why a revision starts or a weight moves is decided above it.
"""
