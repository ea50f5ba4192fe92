"""The numbers of the workspace, measured on the real graph: scripts/bench."""
