"""The evaluator: paired trials in either world, success with intervals."""
