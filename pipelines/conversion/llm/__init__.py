"""Language models: one decoder that continues a prompt."""
