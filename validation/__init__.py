"""Scoring, statistics, gates, data contracts, verdicts. Values in, values out."""
