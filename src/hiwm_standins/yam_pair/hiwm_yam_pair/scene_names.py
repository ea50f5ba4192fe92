"""Names in ground truth that tasks on this stand-in share."""

WARNINGS = "physics_warnings"  # MuJoCo's, since the start; an episode with one has failed
