"""Drives rollouts in waves: each region by the controller of single rollouts, their order here."""
