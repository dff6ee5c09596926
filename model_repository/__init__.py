"""Triton layout: configuration, serving programs, staging, publishing. Talks to no server."""
