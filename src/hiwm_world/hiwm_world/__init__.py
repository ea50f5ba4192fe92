"""The imagination node: a learned world model behind the world contract."""
