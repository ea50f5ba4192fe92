"""The policy node: plans action chunks from observations."""
