"""Drawn inspection images: scenes of materials with defects, and defects on photographs of good parts."""
