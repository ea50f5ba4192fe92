"""Route Rope: two arms lay a rope into two clips."""
