"""The vision-language encoder: an open_clip model with one linear layer per chosen block."""
