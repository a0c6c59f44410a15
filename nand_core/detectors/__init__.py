"""Anomaly detectors: each gives an anomaly map of the whole image."""
