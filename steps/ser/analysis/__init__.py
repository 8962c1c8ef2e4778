"""What a trained network does: attention maps, AD features, figures."""
