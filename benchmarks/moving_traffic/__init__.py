"""What `benchmarks.promotions` moves: toy releases on the real engines, and callers of them."""
