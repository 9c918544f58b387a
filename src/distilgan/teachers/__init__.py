"""Reading other people's checkpoints into our networks."""
