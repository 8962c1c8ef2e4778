"""The networks, written as the paper writes them."""
