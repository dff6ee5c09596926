"""Lip-reading by CTC: a Keras network from clips to tokens, frame by frame."""
