"""Runs many policies from many starts, in the world model or on the stand-in, without a graph."""
