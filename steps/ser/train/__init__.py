"""The training loop and what trains: speaker networks, emotion networks."""
