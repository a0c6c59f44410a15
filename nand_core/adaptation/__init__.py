"""Heads for an encoder: what its patches mean, learned from drawn defects, partly on photographs of the user's own."""
