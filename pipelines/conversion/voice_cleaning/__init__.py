"""Voice cleaning: the source's inspector, its conversion and its parity."""
