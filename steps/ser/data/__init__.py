"""Kaldi data directories, archives, folds, and the features that a training reads."""
