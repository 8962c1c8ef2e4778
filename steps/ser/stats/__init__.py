"""Metrics, significance tests and probes: numbers in, numbers out."""
