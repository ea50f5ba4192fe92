"""Operator devices, the teleop node and the arbiter."""
