"""Translation: an encoder that reads a text, and a decoder that writes it in another language."""
