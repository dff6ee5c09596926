"""Rules of the field that turn a canary back, and ours, on the same simulated traffic.

A benchmark only: nothing here serves, decides about or is imported by a rollout.
"""
