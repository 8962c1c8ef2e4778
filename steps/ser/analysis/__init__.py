"""What a trained network does: attention maps, AD features, figures."""

POOLINGS = ("network", "mean+std")  # of the spaces of an AD module; here, a table of them needs no torch
