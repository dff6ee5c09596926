"""Source format to variants, one module a kind of model. Never judges quality."""
