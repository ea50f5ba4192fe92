"""Leader arms: servo buses, calibration, and the mapping from leader to follower joints."""
