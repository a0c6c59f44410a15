"""Faults against the cache: a small pipeline is changed, killed and damaged; its results must stay right."""
