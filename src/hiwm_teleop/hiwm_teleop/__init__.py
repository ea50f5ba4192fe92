"""Operator devices and the teleop node."""
