"""Trains the embedded model from scratch on images that this package draws."""
