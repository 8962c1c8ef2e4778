"""Posteriors, evaluation, prediction, export."""
