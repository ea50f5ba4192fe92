"""Fold Towel: two arms fold a towel in half."""
