"""Operator devices and their common interface."""
