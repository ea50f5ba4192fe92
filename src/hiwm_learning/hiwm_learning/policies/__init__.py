"""Policies: from a few observations to a chunk of actions."""
