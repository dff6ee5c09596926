"""Speech recognition by CTC: one network from sound to characters, frame by frame."""
