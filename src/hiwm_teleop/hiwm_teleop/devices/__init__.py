"""Operator devices: one seam, and the devices behind it."""
