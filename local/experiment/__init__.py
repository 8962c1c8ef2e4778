"""Which systems, seeds and folds there are, and what is still to do."""
