"""What a model directory holds: configuration, weights, stamp, card."""
