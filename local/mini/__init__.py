"""The embedded synthetic corpora."""
