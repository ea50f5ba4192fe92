"""Leader arms: servo buses, calibration, and how a leader's joints lead a follower's."""
