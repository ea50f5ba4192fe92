"""Benchmarks of the workspace on the real graph: scripts/bench."""
