"""Drives rollouts: the one place where the pure state machine meets the engines."""
